"""How many replicas usage asks for; the cases are those of upstream's replica calculator."""

from __future__ import annotations

from typing import Any

import pytest

from agents.controllers.horizontal_pod_autoscaler.metrics import (
    Outcome,
    Workload,
    invalid,
    outcome,
)
from agents.controllers.horizontal_pod_autoscaler.replicas import Tolerance
from kubraft.api.object import Object
from tests.agents.controllers.objects import NOW, at


def pod(
    name: str, request: str = "1", *, ready: bool = True, age_s: float = 3600, **status: Any
) -> Object:
    since = at(-age_s + 60)
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "lastTransitionTime": since,
    }
    resources = {"requests": {"cpu": request, "memory": "1Gi"}} if request else {}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "resources": resources}]},
        "status": {
            "phase": "Running",
            "startTime": at(-age_s),
            "conditions": [condition],
            **status,
        },
    }


def used(name: str, cpu: str, memory: str = "1Gi", **more: str) -> Object:
    containers = [{"name": "c", "usage": {"cpu": cpu, "memory": memory}}]
    containers += [{"name": n, "usage": {"cpu": value}} for n, value in more.items()]
    return {
        "metadata": {"name": name},
        "timestamp": at(-5),
        "window": "15s",
        "containers": containers,
    }


def percent(value: int, name: str = "cpu", **source: Any) -> Object:
    target = {"type": "Utilization", "averageUtilization": value}
    kind = "ContainerResource" if "container" in source else "Resource"
    field = "containerResource" if "container" in source else "resource"
    return {"type": kind, field: {"name": name, "target": target, **source}}


def average(value: str, name: str = "cpu") -> Object:
    target = {"type": "AverageValue", "averageValue": value}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def asked(
    metrics: list[Object],
    pods: list[Object],
    usage: list[Object],
    current: int | None = None,
    failure: str = "",
) -> Outcome:
    count = len(pods) if current is None else current
    workload = Workload(pods, usage, failure, count, Tolerance(), NOW)
    return outcome(metrics, workload, count)


def names(count: int) -> list[str]:
    return [f"p{index}" for index in range(count)]


@pytest.mark.parametrize(
    ("target", "cpu", "replicas"),
    [
        pytest.param(30, ["300m", "500m", "700m"], 5, id="up"),
        pytest.param(100, ["300m", "500m", "700m"], 2, id="down"),
        pytest.param(50, ["500m", "500m", "520m"], 3, id="tolerance"),
        pytest.param(50, ["550m", "550m", "550m"], 3, id="edge-of-tolerance"),
        pytest.param(50, ["560m", "560m", "560m"], 4, id="beyond-tolerance"),
        pytest.param(50, ["0", "0", "0"], 0, id="idle"),
    ],
)
def test_utilization(target: int, cpu: list[str], replicas: int) -> None:
    usage = [used(name, value) for name, value in zip(names(3), cpu, strict=True)]
    found = asked([percent(target)], [pod(name) for name in names(3)], usage)
    assert found.replicas == replicas
    assert found.message == (
        "the HPA was able to successfully calculate a replica count from cpu resource "
        "utilization (percentage of request)"
    )


def test_what_is_seen_is_told() -> None:
    usage = [used("p0", "300m"), used("p1", "501m")]
    found = asked([percent(50)], [pod("p0"), pod("p1", "500m")], usage)
    current = {"averageUtilization": 53, "averageValue": "400m"}
    assert found.statuses == [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]


@pytest.mark.parametrize(
    ("metric", "replicas"),
    [
        pytest.param(average("200m"), 6, id="cpu"),
        pytest.param(average("1Gi", "memory"), 3, id="memory"),
        pytest.param(average("512Mi", "memory"), 6, id="memory-up"),
    ],
)
def test_average_value(metric: Object, replicas: int) -> None:
    usage = [used(name, "400m") for name in names(3)]
    assert asked([metric], [pod(name) for name in names(3)], usage).replicas == replicas


def test_one_container_alone() -> None:
    pods = [pod("p0"), pod("p1")]
    usage = [used(each["metadata"]["name"], "100m", side="2") for each in pods]
    found = asked([percent(50, container="c")], pods, usage)
    assert found.replicas == 1
    assert found.name == "cpu container resource utilization (percentage of request)"
    assert found.statuses[0]["containerResource"]["container"] == "c"


@pytest.mark.parametrize(
    ("others", "cpu", "target", "replicas"),
    [
        pytest.param([pod("x")], "1", 50, 4, id="missing-counts-as-idle-going-up"),
        pytest.param([pod("x")], "200m", 50, 3, id="missing-counts-as-full-going-down"),
        pytest.param([pod("x", phase="Pending")], "1", 50, 4, id="pending-is-idle-going-up"),
        pytest.param([pod("x", phase="Failed")], "800m", 50, 4, id="failed-does-not-count"),
        pytest.param([pod("x", ready=False, age_s=30)], "200m", 50, 1, id="starting-ignored-down"),
    ],
)
def test_pods_that_say_nothing(others: list[Object], cpu: str, target: int, replicas: int) -> None:
    pods = [pod("p0"), pod("p1"), *others]
    usage = [used("p0", cpu), used("p1", cpu)]
    if others[0]["status"]["conditions"][0]["status"] == "False":
        usage.append(used("x", "1"))
    assert asked([percent(target)], pods, usage).replicas == replicas


def test_the_first_window_of_a_start_does_not_count() -> None:
    young = pod("p1", age_s=62)  # ready since 2 s, and its sample is of 15 s
    usage = [used("p0", "500m"), used("p1", "1")]
    assert asked([percent(50)], [pod("p0"), young], usage).replicas == 2  # not 3


@pytest.mark.parametrize(
    ("metrics", "pods", "usage", "failure", "message"),
    [
        pytest.param(
            [percent(50)], [pod("p0")], [], "",
            "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics "
            "returned from resource metrics API",
            id="no-samples",
        ),
        pytest.param(
            [average("1")], [pod("p0")], [], "service unavailable",
            "failed to get cpu usage: unable to get metrics for resource cpu: unable to fetch "
            "metrics from resource metrics API: service unavailable",
            id="no-api",
        ),
        pytest.param(
            [percent(50)], [], [used("p0", "1")], "",
            "failed to get cpu utilization: no pods returned by selector while calculating replica "
            "count",
            id="no-pods",
        ),
        pytest.param(
            [percent(50)], [pod("p0", "")], [used("p0", "1")], "",
            "failed to get cpu utilization: missing request for cpu in container c of Pod p0",
            id="no-request",
        ),
        pytest.param(
            [percent(50)], [pod("p0", phase="Pending")], [used("p0", "1")], "",
            "failed to get cpu utilization: did not receive metrics for targeted pods (pods might "
            "be unready)",
            id="unready",
        ),
        pytest.param(
            [{"type": "Pods", "pods": {"metric": {"name": "qps"}}}], [pod("p0")], [], "",
            "failed to get qps metric: unable to get metric qps: unable to fetch metrics from "
            "custom metrics API: no known available metric versions found",
            id="custom",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_said(
    metrics: list[Object], pods: list[Object], usage: list[Object], failure: str, message: str
) -> None:
    found = asked(metrics, pods, usage, 1, failure)
    assert found.replicas is None
    assert found.message == f"the HPA was unable to compute the replica count: {message}"
    assert invalid(found.failures, 1) == (
        f"invalid metrics (1 invalid out of 1), first error is: {message}"
    )


def test_the_highest_counts_and_a_failure_forbids_to_go_down() -> None:
    pods = [pod(name) for name in names(4)]
    usage = [used(name, "250m") for name in names(4)]
    custom = {"type": "External", "external": {"metric": {"name": "q"}}}
    assert asked([percent(50), percent(25)], pods, usage).replicas == 4
    assert asked([percent(50)], pods, usage).replicas == 2
    held = asked([percent(50), custom], pods, usage)
    assert (held.replicas, held.reason) == (None, "FailedGetExternalMetric")
    up = asked([percent(10), custom], pods, usage)
    assert (up.replicas, len(up.failures)) == (10, 1)
