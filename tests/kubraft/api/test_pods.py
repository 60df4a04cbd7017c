from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubraft.api.pods import (
    is_active,
    is_pod_available,
    is_pod_ready,
    is_terminated,
    pod_limits,
    pod_requests,
    qos_class,
)
from kubraft.api.time import format_time

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def container(request: str = "", *, sidecar: bool = False, **limits: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": "c", "resources": {}}
    if request:
        found["resources"]["requests"] = {"cpu": request}
    if limits:
        found["resources"]["limits"] = limits
    if sidecar:
        found["restartPolicy"] = "Always"
    return found


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        pytest.param({"containers": [container("1"), container("500m")]}, "1500m", id="sum"),
        pytest.param(
            {"containers": [container("1")], "initContainers": [container("3"), container("2")]},
            "3",
            id="the largest init container",
        ),
        pytest.param(
            {
                "containers": [container("1")],
                "initContainers": [container("1", sidecar=True), container("2")],
            },
            "3",
            id="an init container beside a sidecar started before it",
        ),
        pytest.param(
            {
                "containers": [container("5")],
                "initContainers": [container("2"), container("1", sidecar=True)],
            },
            "6",
            id="a sidecar adds to the containers",
        ),
        pytest.param(
            {"containers": [container("1")], "overhead": {"cpu": "250m"}}, "1250m", id="overhead"
        ),
        pytest.param(
            {"containers": [container("1")], "resources": {"requests": {"cpu": "4"}}},
            "4",
            id="the Pod's own requests replace the sum",
        ),
    ],
)
def test_requests_in_force(spec: dict[str, Any], cpu: str) -> None:
    assert str(pod_requests(pod(**spec))["cpu"]) == cpu


def test_limits_get_overhead_only_where_there_are_limits() -> None:
    spec = {"containers": [container(memory="1Gi")], "overhead": {"cpu": "1"}}
    assert {k: str(v) for k, v in pod_limits(pod(**spec)).items()} == {"memory": "1Gi"}


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        pytest.param([container()], "BestEffort", id="nothing asked for"),
        pytest.param([container("1")], "Burstable", id="requests only"),
        pytest.param([container("500m", cpu="1", memory="1Gi")], "Burstable", id="cpu is request"),
        pytest.param(
            [{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}], "Guaranteed", id="limits"
        ),
        pytest.param(
            [{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}, container()],
            "Burstable",
            id="one container without limits",
        ),
        pytest.param(
            [
                {
                    "resources": {
                        "limits": {"cpu": "1", "memory": "1Gi"},
                        "requests": {"cpu": "500m"},
                    }
                }
            ],
            "Burstable",
            id="requests below limits",
        ),
    ],
)
def test_quality_of_service(containers: list[dict[str, Any]], expected: str) -> None:
    assert qos_class(pod(containers=containers)) == expected


def with_ready(status: str, since: datetime) -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "lastTransitionTime": format_time(since)}
    return {"metadata": {"name": "p"}, "status": {"phase": "Running", "conditions": [condition]}}


def test_readiness_and_availability() -> None:
    ready = with_ready("True", NOW - timedelta(seconds=10))
    assert is_pod_ready(ready)
    assert is_pod_available(ready, 10, NOW)
    assert not is_pod_available(ready, 11, NOW)
    assert not is_pod_available(with_ready("False", NOW - timedelta(hours=1)), 0, NOW)


def test_phases_and_deletion() -> None:
    assert is_terminated({"metadata": {}, "status": {"phase": "Failed"}})
    assert is_active({"metadata": {}})
    assert not is_active({"metadata": {"deletionTimestamp": "2026-11-21T00:00:00Z"}})
