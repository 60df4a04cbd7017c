from __future__ import annotations

from typing import Any

import pytest

from agents.controllers.disruption.budget import failed, read
from kubraft.api.object import Object
from tests.agents.controllers.objects import LABELS, NOW, at, pod


def _budget(**spec: Any) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "some", "namespace": "default", "uid": "u", "generation": 3},
        "spec": {"selector": {"matchLabels": dict(LABELS)}, **spec},
    }


@pytest.mark.parametrize(
    ("spec", "ready", "expected", "desired", "allowed"),
    [
        pytest.param({"minAvailable": 2}, 3, 3, 2, 1, id="a number to keep"),
        pytest.param({"minAvailable": 2}, 1, 3, 2, 0, id="too few already"),
        pytest.param({"minAvailable": "50%"}, 3, 3, 2, 1, id="a share is rounded up"),
        pytest.param({"maxUnavailable": 1}, 3, 3, 2, 1, id="a number to miss"),
        pytest.param({"maxUnavailable": "30%"}, 4, 4, 2, 2, id="a share to miss is rounded up"),
        pytest.param({"maxUnavailable": 5}, 2, 3, 0, 2, id="more than there are"),
        pytest.param({"minAvailable": 0}, 0, 0, 0, 0, id="no Pods, no eviction"),
        pytest.param({}, 2, 2, 1, 1, id="one, where nothing is said"),
    ],
)
def test_how_many_may_go(
    spec: dict[str, Any], ready: int, expected: int, desired: int, allowed: int
) -> None:
    pods = [pod(f"p{i}", ready=0 if i < ready else None) for i in range(4)]
    status = read(_budget(**spec), pods, expected, NOW).status
    assert status["currentHealthy"] == ready
    assert (status["desiredHealthy"], status["disruptionsAllowed"]) == (desired, allowed)
    assert status["observedGeneration"] == 3
    (condition,) = status["conditions"]
    assert condition["reason"] == ("SufficientPods" if allowed else "InsufficientPods")


@pytest.mark.parametrize(
    ("age_s", "terminating", "healthy", "kept", "late"),
    [
        pytest.param(10, False, 2, ["p0"], 0, id="allowed to go, not seen going"),
        pytest.param(10, True, 2, [], 0, id="going"),
        pytest.param(121, False, 3, [], 1, id="it did not go"),
    ],
)
def test_an_allowed_eviction_counts_at_once(
    age_s: float, terminating: bool, healthy: int, kept: list[str], late: int
) -> None:
    pods = [pod(f"p{i}", terminating=terminating and i == 0) for i in range(3)]
    budget = _budget(minAvailable=1)
    budget["status"] = {"disruptedPods": {"p0": at(-age_s), "gone": at(-5)}}
    found = read(budget, pods, 3, NOW)
    assert found.status["currentHealthy"] == healthy
    assert list(found.status.get("disruptedPods", {})) == kept
    assert len(found.late) == late
    assert found.wait_s == (110 if kept else None)


def test_what_cannot_be_read_allows_nothing() -> None:
    budget = _budget(maxUnavailable=1)
    budget["status"] = {"disruptionsAllowed": 2, "currentHealthy": 3}
    status = failed(budget, "found no controllers", NOW)
    assert (status["disruptionsAllowed"], status["currentHealthy"]) == (0, 3)
    assert status["conditions"][0]["reason"] == "SyncFailed"
