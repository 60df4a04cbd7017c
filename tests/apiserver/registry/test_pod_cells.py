"""The row of a Pod, as `kubectl get pods` shows it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from apiserver.registry.pod_cells import POD

NOW = dt.datetime(2026, 1, 1, 0, 1, tzinfo=dt.UTC)
FAILED = {"exitCode": 1, "reason": "Error", "finishedAt": "2026-01-01T00:00:50Z"}


def row(status: dict[str, Any]) -> tuple[str, str, str]:
    """READY, STATUS and RESTARTS of a Pod with one init container."""
    spec = {"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}
    metadata = {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"}
    _name, ready, shown, restarts, *_ = POD.cells(
        {"metadata": metadata, "spec": spec, "status": status}, NOW
    )
    return ready, shown, restarts


def crashing(restarts: int) -> dict[str, Any]:
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    return {"restartCount": restarts, "state": waiting, "lastState": {"terminated": FAILED}}


DONE = {"name": "i", "restartCount": 2, "state": {"terminated": {"exitCode": 0}}}


@pytest.mark.parametrize(
    ("init", "container", "shown"),
    [
        pytest.param(
            {"name": "i", **crashing(3)},
            {"name": "c", "restartCount": 0},
            ("0/1", "Init:CrashLoopBackOff", "3 (10s ago)"),
            id="until they are done it is the init containers' restarts that count",
        ),
        pytest.param(
            DONE,
            {"name": "c", **crashing(1)},
            ("0/1", "CrashLoopBackOff", "1 (10s ago)"),
            id="and then the containers'",
        ),
    ],
)
def test_restarts(init: Any, container: Any, shown: tuple[str, str, str]) -> None:
    status = {"initContainerStatuses": [init], "containerStatuses": [container]}
    assert row(status) == shown


@pytest.mark.parametrize(
    ("containers", "shown"),
    [
        pytest.param([], "Evicted", id="refused before anything was made"),
        pytest.param([{"name": "c", "state": {"terminated": FAILED}}], "Error", id="killed"),
        pytest.param(
            [{"name": "c", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}],
            "Completed",
            id="ended well when told to",
        ),
    ],
)
def test_an_evicted_pod_shows_what_became_of_its_containers(containers: Any, shown: str) -> None:
    status = {"phase": "Failed", "reason": "Evicted", "containerStatuses": containers}
    assert row(status)[1] == shown
