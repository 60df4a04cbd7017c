"""What a Deployment's status says: counts, availability, progress and its deadline.

Source: Kubernetes documentation, "Deployments, Deployment status" and "Progress Deadline Seconds";
API reference, DeploymentStatus.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from agents.controllers.deployment import condition as cond
from agents.controllers.deployment.rollout import Rollout, wanted
from agents.controllers.deployment.strategy import bounds_of, replicas_of
from kubraft.api.conditions import Condition, find_condition, without_condition
from kubraft.api.object import Object
from kubraft.api.time import parse_time

Status = dict[str, Any]
# The value that means "no deadline". Source: API reference, progressDeadlineSeconds.
_NO_DEADLINE = 2**31 - 1
_DEFAULT_DEADLINE_S = 600


def deadline_s(deployment: Object) -> int | None:
    """How long a roll-out may stand still, in seconds; None where that is not watched."""
    seconds: int | None = deployment["spec"].get("progressDeadlineSeconds", _DEFAULT_DEADLINE_S)
    return None if seconds in (None, _NO_DEADLINE) else seconds


def paused_conditions(deployment: Object, now: datetime) -> list[Condition]:
    """The conditions with a pause or its end noted: a paused time is no lack of progress."""
    conditions = list((deployment.get("status") or {}).get("conditions") or ())
    known = find_condition(conditions, cond.PROGRESSING)
    reason = known.get("reason") if known else None
    if deadline_s(deployment) is None or reason == cond.PROGRESS_DEADLINE_EXCEEDED:
        return conditions
    paused = bool(deployment["spec"].get("paused"))
    if paused and reason != cond.PAUSED:
        fresh = (cond.PAUSED, "Deployment is paused")
    elif not paused and reason == cond.PAUSED:
        fresh = (cond.RESUMED, "Deployment is resumed")
    else:
        return conditions
    return cond.replaced(conditions, cond.condition(cond.PROGRESSING, "Unknown", *fresh, now))


def counted(rollout: Rollout, conditions: Sequence[Condition], now: datetime) -> Status:
    """The status by what the ReplicaSets report, with condition Available but progress unjudged."""
    deployment = rollout.deployment
    new = [rollout.new] if rollout.new is not None else []
    ready_now = _reported(rollout.all, "availableReplicas")
    # The bounds of the spec; those for scaling may be narrower.
    enough = ready_now >= bounds_of(deployment).available_min
    available = cond.condition(
        cond.AVAILABLE,
        "True" if enough else "False",
        cond.MINIMUM_REPLICAS_AVAILABLE if enough else cond.MINIMUM_REPLICAS_UNAVAILABLE,
        f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        now,
    )
    status: Status = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    counts = {
        "replicas": _reported(rollout.all, "replicas"),
        "updatedReplicas": _reported(new, "replicas"),
        "readyReplicas": _reported(rollout.all, "readyReplicas"),
        "availableReplicas": ready_now,
        "unavailableReplicas": max(0, wanted(rollout.all) - ready_now),
    }
    status.update({name: count for name, count in counts.items() if count})
    status["conditions"] = cond.replaced(conditions, available)
    if (collisions := (deployment.get("status") or {}).get("collisionCount")) is not None:
        status["collisionCount"] = collisions
    return status


def judged(rollout: Rollout, conditions: Sequence[Condition], now: datetime) -> Status:
    """The status with conditions Progressing and ReplicaFailure as this moment warrants.

    Args:
        conditions: those of the stored status, with what this plan has noted so far.
    """
    status = counted(rollout, conditions, now)
    deadline = deadline_s(rollout.deployment)
    current = find_condition(conditions, cond.PROGRESSING)
    if deadline is None:
        status["conditions"] = without_condition(status["conditions"], cond.PROGRESSING)
    elif not _was_complete(status, current):
        status["conditions"] = _with_progress(rollout, status, current, deadline, now)
    if failure := _failure(rollout):
        status["conditions"] = cond.replaced(status["conditions"], failure)
    else:
        status["conditions"] = without_condition(status["conditions"], cond.REPLICA_FAILURE)
    return status


def is_complete(deployment: Object, status: Status) -> bool:
    """Whether all Pods are of the newest template and available, and no old one is left."""
    goal = replicas_of(deployment)
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    return (
        all(status.get(name, 0) == goal for name in counts)
        and status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    )  # fmt: skip


def next_check_s(deployment: Object, status: Status, now: datetime) -> float | None:
    """Seconds until the deadline must be looked at, which no event announces."""
    current = find_condition(status.get("conditions"), cond.PROGRESSING)
    deadline = deadline_s(deployment)
    if current is None or deadline is None or is_complete(deployment, status):
        return None
    if current.get("reason") in (cond.PROGRESS_DEADLINE_EXCEEDED, cond.NEW_REPLICA_SET_AVAILABLE):
        return None
    left_s = (_updated(current) + timedelta(seconds=deadline) - now).total_seconds()
    # One second more, since times in conditions are whole seconds.
    return max(left_s, 0) + 1


def _was_complete(status: Status, current: Condition | None) -> bool:
    """Whether the last roll-out ended well and none has begun since: then nothing is judged."""
    return (
        status.get("replicas", 0) == status.get("updatedReplicas", 0)
        and current is not None
        and current.get("reason") == cond.NEW_REPLICA_SET_AVAILABLE
    )


def _with_progress(
    rollout: Rollout, status: Status, current: Condition | None, deadline: int, now: datetime
) -> list[Condition]:
    deployment = rollout.deployment
    conditions: list[Condition] = status["conditions"]
    named = rollout.new or deployment
    what = f'{named["kind"]} "{named["metadata"]["name"]}"'
    if is_complete(deployment, status):
        message = f"{what} has successfully progressed."
        reason = cond.NEW_REPLICA_SET_AVAILABLE
        return cond.replaced(
            conditions, cond.condition(cond.PROGRESSING, "True", reason, message, now)
        )
    if _moved(deployment.get("status") or {}, status):
        message = f"{what} is progressing."
        reason = cond.REPLICA_SET_UPDATED
        return cond.touched(
            conditions, cond.condition(cond.PROGRESSING, "True", reason, message, now)
        )
    if _timed_out(current, deadline, now):
        message = f"{what} has timed out progressing."
        reason = cond.PROGRESS_DEADLINE_EXCEEDED
        return cond.replaced(
            conditions, cond.condition(cond.PROGRESSING, "False", reason, message, now)
        )
    return conditions


def _moved(old: Status, new: Status) -> bool:
    """Whether more is new, ready or available than the stored status says, or less is old."""

    def number(status: Status, name: str) -> int:
        count: int = status.get(name, 0)
        return count

    def outdated(status: Status) -> int:
        return number(status, "replicas") - number(status, "updatedReplicas")

    risen = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return outdated(new) < outdated(old) or any(number(new, n) > number(old, n) for n in risen)


def _timed_out(current: Condition | None, deadline: int, now: datetime) -> bool:
    if current is None or current.get("reason") == cond.NEW_REPLICA_SET_AVAILABLE:
        return False
    if current.get("reason") == cond.PROGRESS_DEADLINE_EXCEEDED:
        return True
    return _updated(current) + timedelta(seconds=deadline) < now


def _updated(condition: Condition) -> datetime:
    return parse_time(condition.get("lastUpdateTime") or condition["lastTransitionTime"])


def _failure(rollout: Rollout) -> Condition | None:
    """Condition ReplicaFailure of the new ReplicaSet, or else of the oldest that has one."""
    for replica_set in [rollout.new, *rollout.old]:
        stored = (replica_set or {}).get("status") or {}
        if found := find_condition(stored.get("conditions"), cond.REPLICA_FAILURE):
            return {
                **found,
                "lastUpdateTime": found.get("lastUpdateTime", found.get("lastTransitionTime")),
            }
    return None


def _reported(replica_sets: Sequence[Object], count: str) -> int:
    return sum((rs.get("status") or {}).get(count, 0) for rs in replica_sets)
