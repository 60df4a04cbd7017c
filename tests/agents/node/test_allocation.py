"""Resizing: what is given, what is not, and what a container has meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from agents.node.allocation import (
    Allocation,
    adopt,
    allocate,
    differs,
    must_restart,
    resize_conditions,
    with_allocation,
)
from agents.node.plan import Waiting
from kubraft.api.object import Object
from kubraft.api.quantity import parse_quantity
from tests.agents.node.pods import pod

CAPACITY = {"cpu": parse_quantity("2"), "memory": parse_quantity("1Gi")}


def asking(cpu: str, memory: str = "64Mi") -> Object:
    wanted = pod(metadata={"generation": 3})
    resources = {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": "128Mi"}}
    wanted["spec"]["containers"][0]["resources"] = resources
    return wanted


def yes(_pod: Object) -> Waiting | None:
    return None


def no(_pod: Object) -> Waiting | None:
    return Waiting("OutOfcpu", "Node didn't have enough resource: cpu")


def given(cpu: str) -> Allocation:
    allocation = Allocation()
    adopt(asking(cpu), allocation)
    return allocation


def test_what_fits_is_given() -> None:
    allocation = given("1")
    allocate(asking("1500m"), allocation, CAPACITY, yes)
    assert allocation.allocated["main"]["requests"]["cpu"] == "1500m"
    assert resize_conditions(asking("1500m"), allocation) == []


@pytest.mark.parametrize(
    ("cpu", "reason", "message"),
    [
        pytest.param("1500m", "Deferred", "Node didn't have enough resource: cpu", id="not now"),
        pytest.param(
            "3",
            "Infeasible",
            "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000",
            id="never",
        ),
    ],
)
def test_what_does_not_fit_waits_and_says_why(cpu: str, reason: str, message: str) -> None:
    allocation = given("1")
    wanted = asking(cpu)
    allocate(wanted, allocation, CAPACITY, no)
    (condition,) = resize_conditions(wanted, allocation)
    assert condition == {
        "type": "PodResizePending",
        "status": "True",
        "observedGeneration": 3,
        "reason": reason,
        "message": message,
    }
    (container,) = with_allocation(wanted, allocation)["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"] == "1"
    allocate(asking("1"), allocation, CAPACITY, no)
    assert resize_conditions(wanted, allocation) == []


@pytest.mark.parametrize(
    ("resource", "restarts"),
    [pytest.param("cpu", False, id="the other's"), pytest.param("memory", True, id="its own")],
)
def test_a_container_may_want_a_restart_for_one_resource(resource: str, restarts: bool) -> None:
    (container,) = asking("1")["spec"]["containers"]
    policy = {"resourceName": "memory", "restartPolicy": "RestartContainer"}
    more = {**container, "resizePolicy": [policy]}
    actual: dict[str, Any] = {
        "requests": {**container["resources"]["requests"], resource: "9"},
        "limits": container["resources"]["limits"],
    }
    assert differs(more, actual)
    assert must_restart(more, actual) is restarts
    assert not differs(more, {**actual, "requests": {"cpu": "1000m", "memory": "67108864"}})


def test_a_restarted_agent_goes_on_from_what_the_status_says() -> None:
    wanted = asking("2")
    shown = {
        "name": "main",
        "containerID": "process://abc",
        "state": {"running": {}},
        "allocatedResources": {"cpu": "1500m"},
        "resources": {"requests": {"cpu": "1"}},
    }
    wanted["status"] = {"containerStatuses": [shown]}
    allocation = Allocation()
    adopt(wanted, allocation)
    assert allocation.allocated == {"main": {"requests": {"cpu": "1500m"}}}
    assert allocation.actual == {"abc": {"requests": {"cpu": "1"}}}
    (condition,) = resize_conditions(wanted, allocation)
    assert condition["type"] == "PodResizeInProgress"
