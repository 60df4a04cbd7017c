"""How many Pods a ReplicaSet lacks or has too many, and what its status says.

Pure: one picture in, a decision out; `controller.py` carries it out.

Source: Kubernetes documentation, "ReplicaSet"; API reference, ReplicaSetStatus.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agents.controllers.replica_set.ranking import to_delete
from kubraft.api.conditions import find_condition, with_condition, without_condition
from kubraft.api.object import Object, is_terminating, labels_of
from kubraft.api.pods import is_pod_available, is_pod_ready, ready_since

# The most Pods that one reconcile creates or deletes. Source: upstream's BurstReplicas.
BURST_REPLICAS = 500
REPLICA_FAILURE = "ReplicaFailure"


@dataclass(frozen=True, slots=True)
class Plan:
    """Create so many, or delete these; never both."""

    create: int = 0
    delete: tuple[Object, ...] = ()


def plan(
    replica_set: Object, pods: Sequence[Object], *, related: Iterable[Object], now: datetime
) -> Plan:
    """Bring the number of Pods to `spec.replicas`, at most `BURST_REPLICAS` at once.

    Args:
        pods: the active Pods that the ReplicaSet owns.
        related: active Pods of all ReplicaSets of the same owner, for ranking deletions.
    """
    if is_terminating(replica_set):
        return Plan()
    surplus = len(pods) - wanted_replicas(replica_set)
    if surplus < 0:
        return Plan(create=min(-surplus, BURST_REPLICAS))
    if surplus > 0:
        victims = to_delete(pods, min(surplus, BURST_REPLICAS), related=related, now=now)
        return Plan(delete=tuple(victims))
    return Plan()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last creates or deletes did not all succeed."""

    reason: str  # "FailedCreate" or "FailedDelete"
    message: str


def status(
    replica_set: Object, pods: Sequence[Object], failure: Failure | None, now: datetime
) -> dict[str, Any]:
    """The status that tells what the cache shows.

    Args:
        failure: of this reconcile; None clears condition ReplicaFailure.
    """
    spec, old = replica_set["spec"], replica_set.get("status") or {}
    template_labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    min_ready_s = spec.get("minReadySeconds", 0)
    fresh: dict[str, Any] = {
        "replicas": len(pods),
        "observedGeneration": replica_set["metadata"].get("generation", 0),
    }
    counts = {
        "fullyLabeledReplicas": sum(template_labels.items() <= labels_of(p).items() for p in pods),
        "readyReplicas": sum(map(is_pod_ready, pods)),
        "availableReplicas": sum(is_pod_available(p, min_ready_s, now) for p in pods),
    }
    fresh.update({name: count for name, count in counts.items() if count})
    if conditions := _conditions(old.get("conditions"), failure, now):
        fresh["conditions"] = conditions
    return fresh


def next_check_s(replica_set: Object, pods: Iterable[Object], now: datetime) -> float | None:
    """Seconds until the next ready Pod becomes available, which no event announces."""
    min_ready_s = replica_set["spec"].get("minReadySeconds", 0)
    if min_ready_s <= 0:
        return None
    moments = [
        since + timedelta(seconds=min_ready_s) for pod in pods if (since := ready_since(pod))
    ]
    waits = [(moment - now).total_seconds() for moment in moments if moment > now]
    return min(waits) if waits else None


def wanted_replicas(replica_set: Object) -> int:
    """`spec.replicas`, 1 where absent."""
    count: int | None = replica_set["spec"].get("replicas")
    return 1 if count is None else count


def _conditions(
    old: list[dict[str, Any]] | None, failure: Failure | None, now: datetime
) -> list[dict[str, Any]]:
    if failure is None:
        return without_condition(old, REPLICA_FAILURE)
    if (known := find_condition(old, REPLICA_FAILURE)) and known.get("reason") == failure.reason:
        return list(old or ())
    return with_condition(
        old,
        {
            "type": REPLICA_FAILURE,
            "status": "True",
            "reason": failure.reason,
            "message": failure.message,
        },
        now,
    )
