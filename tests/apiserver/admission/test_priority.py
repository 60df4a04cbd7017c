"""Priorities of Pods by class."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.admission.priority import Priority
from kubraft.api.errors import ForbiddenError
from kubraft.api.object import Object
from tests.apiserver.admission.requests import context, request
from tests.apiserver.memory import MemoryCluster


def a_class(name: str, value: int, **fields: Any) -> Object:
    metadata = {"name": name}
    kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
    return {**kind, "metadata": metadata, "value": value, **fields}


def a_pod(**spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


async def admitted(cluster: MemoryCluster, obj: Object) -> Object:
    asked = request(obj)
    plugin = Priority(context(cluster))
    assert plugin.handles(asked)
    await plugin.mutate(asked)
    await plugin.validate(asked)
    assert asked.obj is not None
    return asked.obj


@pytest.mark.parametrize(
    ("named", "priority", "preemption"),
    [
        pytest.param("", 0, "PreemptLowerPriority", id="none"),
        pytest.param("high", 900, "Never", id="a class"),
        pytest.param("system-node-critical", 2_000_001_000, "PreemptLowerPriority", id="system"),
    ],
)
async def test_a_class_becomes_a_number(named: str, priority: int, preemption: str) -> None:
    cluster = MemoryCluster(a_class("high", 900, preemptionPolicy="Never"))
    spec = (await admitted(cluster, a_pod(**({"priorityClassName": named} if named else {}))))[
        "spec"
    ]
    assert (spec["priority"], spec["preemptionPolicy"]) == (priority, preemption)


async def test_the_default_class_is_that_of_pods_that_name_none() -> None:
    cluster = MemoryCluster(a_class("usual", 5, globalDefault=True))
    spec = (await admitted(cluster, a_pod()))["spec"]
    assert (spec["priorityClassName"], spec["priority"]) == ("usual", 5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            {"priorityClassName": "odd"}, "no PriorityClass with name odd was found", id="unknown"
        ),
        pytest.param(
            {"priority": 7},
            r"the integer value of priority \(7\) must not be provided in pod spec; priority "
            "admission controller computed 0 from the given PriorityClass name",
            id="another number",
        ),
    ],
)
async def test_a_pod_may_not_choose_its_number(spec: Object, message: str) -> None:
    with pytest.raises(ForbiddenError, match=message):
        await admitted(MemoryCluster(), a_pod(**spec))


async def test_one_class_is_the_default() -> None:
    cluster = MemoryCluster(a_class("usual", 5, globalDefault=True))
    with pytest.raises(ForbiddenError, match="PriorityClass usual is already marked as default"):
        await admitted(cluster, a_class("other", 6, globalDefault=True))
    await admitted(cluster, a_class("usual", 5, globalDefault=True))
