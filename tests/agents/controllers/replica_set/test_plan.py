from __future__ import annotations

import pytest

from agents.controllers.pod_control import batches
from agents.controllers.replica_set.plan import (
    BURST_REPLICAS,
    Failure,
    next_check_s,
    plan,
    status,
)
from tests.agents.controllers.objects import NOW, pod, replica_set


@pytest.mark.parametrize(
    ("wanted", "present", "create", "delete"),
    [
        pytest.param(3, 0, 3, 0, id="none yet"),
        pytest.param(3, 2, 1, 0, id="one lacking"),
        pytest.param(3, 3, 0, 0, id="as wanted"),
        pytest.param(1, 3, 0, 2, id="too many"),
        pytest.param(0, 2, 0, 2, id="scaled to nothing"),
        pytest.param(2000, 0, BURST_REPLICAS, 0, id="never more than a burst"),
    ],
)
def test_the_number_of_pods_follows_the_spec(
    wanted: int, present: int, create: int, delete: int
) -> None:
    owner = replica_set(replicas=wanted)
    pods = [pod(f"p{i}", owner) for i in range(present)]
    decided = plan(owner, pods, related=pods, now=NOW)
    assert (decided.create, len(decided.delete)) == (create, delete)


def test_a_terminating_replica_set_leaves_its_pods_alone() -> None:
    owner = replica_set(replicas=3)
    owner["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert plan(owner, [], related=[], now=NOW).create == 0


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, []), (1, [1]), (3, [1, 2]), (10, [1, 2, 4, 3])],
)
def test_creates_start_slowly(count: int, sizes: list[int]) -> None:
    assert batches(count) == sizes


def test_status_counts_ready_and_available_pods() -> None:
    owner = replica_set(replicas=4, minReadySeconds=30)
    pods = [pod("a", owner, ready=60), pod("b", owner, ready=10), pod("c", owner, ready=None)]
    assert status(owner, pods, None, NOW) == {
        "replicas": 3,
        "fullyLabeledReplicas": 3,
        "readyReplicas": 2,
        "availableReplicas": 1,
        "observedGeneration": 1,
    }
    assert next_check_s(owner, pods, NOW) == 20


def test_a_failed_create_is_a_condition_until_it_succeeds() -> None:
    owner = replica_set()
    refused = status(owner, [], Failure("FailedCreate", "exceeded quota"), NOW)
    assert refused["conditions"] == [
        {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": "exceeded quota",
            "lastTransitionTime": "2026-03-01T12:00:00Z",
        }
    ]
    again = {**owner, "status": refused}
    assert status(again, [], Failure("FailedCreate", "another text"), NOW) == refused
    assert "conditions" not in status(again, [], None, NOW)
