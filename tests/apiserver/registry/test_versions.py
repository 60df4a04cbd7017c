"""Kinds that are served in two versions and lie in the store in one."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.registry.kinds import autoscaling, events
from apiserver.registry.registry import ListQuery, WatchQuery
from kubraft.api.errors import BadRequestError
from kubraft.api.gvk import EVENT
from kubraft.api.object import Object
from tests.apiserver.harness import Bench
from tests.apiserver.registry.kind_cases import thing

TARGET = {"kind": "Deployment", "name": "web"}
MEMORY = {
    "type": "Resource",
    "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}},
}


def placed(obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "namespace": "default"}}


def core_event(**fields: Any) -> Object:
    involved = {"kind": "Pod", "name": "p", "namespace": "default"}
    return placed(thing("v1", "Event", involvedObject=involved, message="how", count=3, **fields))


async def test_an_event_of_core_is_one_of_its_own_group(bench: Bench) -> None:
    await bench.create(core_event(reason="Why", source={"component": "kubelet"}))
    shown = await bench.get(events.EVENT, "x")
    assert shown["apiVersion"] == "events.k8s.io/v1"
    assert shown["regarding"]["name"] == "p"
    assert (shown["note"], shown["deprecatedCount"]) == ("how", 3)
    assert shown["deprecatedSource"] == {"component": "kubelet"}
    assert "message" not in shown


async def test_what_is_written_in_one_version_is_watched_in_the_other(bench: Bench) -> None:
    call = bench.call(events.EVENT)
    query = WatchQuery(field_selector="regarding.name=p")
    async with aclosing(bench.registry.watch(call, query)) as stream:
        await bench.create(core_event(reason="Why"))
        event = await asyncio.wait_for(anext(stream), 10)
    assert event.entry is not None
    assert event.entry.decode()["regarding"]["name"] == "p"


@pytest.mark.parametrize(("selector", "count"), [("regarding.name=p", 1), ("regarding.name=q", 0)])
async def test_fields_are_selected_by_the_names_of_the_version(
    bench: Bench, selector: str, count: int
) -> None:
    await bench.create(core_event(reason="Why"))
    query = ListQuery(field_selector=selector)
    assert len((await bench.registry.list(bench.call(events.EVENT), query)).entries) == count
    with pytest.raises(BadRequestError, match="field label not supported"):
        await bench.registry.list(bench.call(EVENT), query)


async def test_an_autoscaler_of_version_1_is_one_of_version_2(bench: Bench) -> None:
    spec = {"scaleTargetRef": TARGET, "maxReplicas": 4, "targetCPUUtilizationPercentage": 60}
    await bench.create(placed(thing("autoscaling/v1", "HorizontalPodAutoscaler", spec=spec)))
    made = await bench.get(autoscaling.HPA, "x")
    (metric,) = made["spec"]["metrics"]
    assert metric["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}
    made["spec"]["metrics"].append(MEMORY)
    made["spec"]["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 5}}
    after = await bench.update(made)
    assert after["spec"]["behavior"]["scaleUp"]["selectPolicy"] == "Max"
    assert after["metadata"]["generation"] == 2
    old = await bench.get(autoscaling.HPA_V1, "x")
    assert old["spec"] == {**spec, "minReplicas": 1}
    # A client of version 1 that writes back what it read takes nothing away.
    old["spec"]["maxReplicas"] = 5
    await bench.update(old)
    last = await bench.get(autoscaling.HPA, "x")
    assert last["spec"] == {**after["spec"], "maxReplicas": 5}
    assert "annotations" not in last["metadata"]


@given(
    percent=st.none() | st.integers(1, 100),
    others=st.lists(st.just(MEMORY), max_size=2),
    used=st.none() | st.integers(0, 100),
)
def test_conversion_there_and_back_is_none(
    percent: int | None, others: list[Object], used: int | None
) -> None:
    spec: Object = {"scaleTargetRef": TARGET, "maxReplicas": 2}
    metrics = [*([] if percent is None else [autoscaling._cpu(percent)]), *others]
    spec["metrics"] = metrics or [autoscaling._cpu(80)]
    status: Object = {"currentReplicas": 1, "desiredReplicas": 1}
    if used is not None:
        shown = {"name": "cpu", "current": {"averageUtilization": used}}
        status["currentMetrics"] = [{"type": "Resource", "resource": shown}]
    obj = thing("autoscaling/v2", "HorizontalPodAutoscaler", spec=spec, status=status)
    assert autoscaling.to_v2(autoscaling.to_v1(obj)) == obj
