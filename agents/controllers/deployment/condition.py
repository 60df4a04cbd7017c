"""Conditions of a Deployment: Progressing, Available, ReplicaFailure.

Unlike other kinds' they have `lastUpdateTime`, and one of the same status and reason is left as it
was, message and times included.

Source: API reference, DeploymentCondition; Kubernetes documentation, "Deployment status".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kubraft.api.conditions import Condition, find_condition, without_condition
from kubraft.api.time import format_time

PROGRESSING = "Progressing"
AVAILABLE = "Available"
REPLICA_FAILURE = "ReplicaFailure"

# Reasons of Progressing.
NEW_REPLICA_SET_CREATED = "NewReplicaSetCreated"
FOUND_NEW_REPLICA_SET = "FoundNewReplicaSet"
REPLICA_SET_UPDATED = "ReplicaSetUpdated"
NEW_REPLICA_SET_AVAILABLE = "NewReplicaSetAvailable"
PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
REPLICA_SET_CREATE_ERROR = "ReplicaSetCreateError"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"

# Reasons of Available.
MINIMUM_REPLICAS_AVAILABLE = "MinimumReplicasAvailable"
MINIMUM_REPLICAS_UNAVAILABLE = "MinimumReplicasUnavailable"


def condition(type_: str, status: str, reason: str, message: str, now: datetime) -> Condition:
    """A condition that became so at `now`."""
    moment = format_time(now)
    return {
        "type": type_,
        "status": status,
        "lastUpdateTime": moment,
        "lastTransitionTime": moment,
        "reason": reason,
        "message": message,
    }


def replaced(conditions: Sequence[Condition], fresh: Condition) -> list[Condition]:
    """`conditions` with `fresh`, unless one of the same type, status and reason stands already."""
    old = find_condition(conditions, fresh["type"])
    if old is not None and old.get("status") == fresh["status"]:
        if old.get("reason") == fresh["reason"]:
            return list(conditions)
        fresh = {**fresh, "lastTransitionTime": old.get("lastTransitionTime")}
    return [*without_condition(conditions, fresh["type"]), fresh]


def touched(conditions: Sequence[Condition], fresh: Condition) -> list[Condition]:
    """As `replaced`, but message and `lastUpdateTime` always become those of `fresh`."""
    old = find_condition(conditions, fresh["type"])
    if old is not None and old.get("status") == fresh["status"]:
        fresh = {**fresh, "lastTransitionTime": old.get("lastTransitionTime")}
    return [*without_condition(conditions, fresh["type"]), fresh]
