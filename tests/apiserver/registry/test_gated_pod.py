"""Scheduling gates: who made the Pod takes them away, and may say more of where it is to go."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.errors import InvalidError
from tests.apiserver.harness import Bench, pod

GATES = [{"name": "example.com/quota"}, {"name": "example.com/arch"}]
ON_SSD = {"key": "disk", "operator": "In", "values": ["ssd"]}
IN_ZONE = {"key": "zone", "operator": "Exists"}


def required(*expressions: dict[str, Any]) -> dict[str, Any]:
    terms = [{"matchExpressions": list(expressions)}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


async def test_a_gated_pod_says_so_and_its_gates_can_be_taken_away(bench: Bench) -> None:
    obj = await bench.create(pod(schedulingGates=GATES))
    (condition,) = obj["status"]["conditions"]
    assert condition["lastTransitionTime"] == obj["metadata"]["creationTimestamp"]
    assert (condition["type"], condition["status"], condition["reason"], condition["message"]) == (
        "PodScheduled",
        "False",
        "SchedulingGated",
        "Scheduling is blocked due to non-empty scheduling gates",
    )
    obj["spec"]["schedulingGates"] = GATES[1:]
    obj = await bench.update(obj)
    assert obj["spec"]["schedulingGates"] == GATES[1:]
    del obj["spec"]["schedulingGates"]
    obj = await bench.update(obj)
    assert not obj["spec"].get("schedulingGates")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"nodeSelector": {"a": "b", "c": "d"}}, id="another label"),
        pytest.param({"affinity": required(ON_SSD, IN_ZONE)}, id="another requirement"),
        pytest.param({"schedulingGates": [], "nodeSelector": {"a": "b", "c": "d"}}, id="at once"),
    ],
)
async def test_where_it_may_go_can_be_narrowed(bench: Bench, change: dict[str, Any]) -> None:
    obj = await bench.create(
        pod(schedulingGates=GATES, nodeSelector={"a": "b"}, affinity=required(ON_SSD))
    )
    obj["spec"].update(change)
    after = await bench.update(obj)
    for name, value in change.items():
        assert (after["spec"].get(name) or []) == value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            {"schedulingGates": [*GATES, {"name": "x"}]},
            "spec.schedulingGates[2].name: Forbidden: "
            "only deletion is allowed, but found new scheduling gate 'x'",
            id="another gate",
        ),
        pytest.param(
            {"nodeSelector": {"a": "c"}},
            "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            id="another value",
        ),
        pytest.param(
            {"affinity": required(IN_ZONE)},
            "only additions are allowed (no mutations or deletions)",
            id="another requirement in its place",
        ),
        pytest.param({"hostNetwork": True}, "pod updates may not change fields", id="all else"),
    ],
)
async def test_nothing_is_widened(bench: Bench, change: dict[str, Any], said: str) -> None:
    obj = await bench.create(
        pod(schedulingGates=GATES, nodeSelector={"a": "b"}, affinity=required(ON_SSD))
    )
    obj["spec"].update(change)
    with pytest.raises(InvalidError) as failure:
        await bench.update(obj)
    assert said in failure.value.message


async def test_a_pod_without_gates_gets_none_and_stays_as_it_is(bench: Bench) -> None:
    obj = await bench.create(pod(nodeSelector={"a": "b"}))
    for change in ({"schedulingGates": GATES}, {"nodeSelector": {"a": "b", "c": "d"}}):
        with pytest.raises(InvalidError):
            await bench.update({**obj, "spec": {**obj["spec"], **change}})
