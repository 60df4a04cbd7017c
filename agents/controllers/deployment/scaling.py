"""Scaling in the middle of a roll-out: every ReplicaSet gets its share.

Source: Kubernetes documentation, "Deployments, Proportional scaling".
"""

from __future__ import annotations

from agents.controllers.deployment.revision import DESIRED_REPLICAS, MAX_REPLICAS
from agents.controllers.deployment.rollout import Rollout, wanted
from agents.controllers.deployment.strategy import is_rolling_update, replicas_of
from kubraft.api.object import Object, annotations_of


def is_scaled(rollout: Rollout) -> bool:
    """Whether the Deployment's size changed since its active ReplicaSets noted it."""
    noted = (_number(rs, DESIRED_REPLICAS) for rs in rollout.all if replicas_of(rs) > 0)
    return any(n is not None and n != rollout.bounds.replicas for n in noted)


def scale(rollout: Rollout) -> None:
    """Fit the ReplicaSets to the Deployment's size without moving the roll-out on."""
    goal = rollout.bounds.replicas
    only = _active_or_latest(rollout)
    if only is not None:
        rollout.scale(only, goal)
        return
    if _is_saturated(rollout):
        for replica_set in rollout.active_old:
            rollout.scale(replica_set, 0)
        return
    if is_rolling_update(rollout.deployment):
        for replica_set, size in proportional_sizes(rollout):
            rollout.scale(replica_set, size)


def proportional_sizes(rollout: Rollout) -> list[tuple[Object, int]]:
    """The active ReplicaSets with the sizes that keep their proportions; the sum is what fits.

    The largest comes first and takes what rounding leaves over.
    """
    active = [rs for rs in rollout.all if replicas_of(rs) > 0]
    allowed = rollout.bounds.pods_max if rollout.bounds.replicas > 0 else 0
    to_add = allowed - wanted(active)
    # Newest first for a tie when growing, oldest first when shrinking.
    by_age = sorted(active, key=_created, reverse=to_add > 0)
    ordered = sorted(by_age, key=replicas_of, reverse=True)
    sizes: list[int] = []
    added = 0
    for replica_set in ordered:
        share = _share(replica_set, rollout, to_add - added) if to_add else 0
        added += share
        sizes.append(replicas_of(replica_set) + share)
    if sizes:
        sizes[0] = max(0, sizes[0] + to_add - added)
    return list(zip(ordered, sizes, strict=True))


def _share(replica_set: Object, rollout: Rollout, left: int) -> int:
    """What `replica_set` gains or loses, no more than is `left`."""
    size = replicas_of(replica_set)
    if rollout.bounds.replicas == 0:
        fraction = -size
    else:
        before = _number(replica_set, MAX_REPLICAS) or (
            (rollout.deployment.get("status") or {}).get("replicas", 0)
        )
        if not before:
            return 0
        # Rounded to the nearest whole number, halves up.
        fraction = (2 * size * rollout.bounds.pods_max + before) // (2 * before) - size
    return min(fraction, left) if left > 0 else max(fraction, left)


def _active_or_latest(rollout: Rollout) -> Object | None:
    """The one ReplicaSet that scaling concerns; None where several have Pods."""
    active = [rs for rs in rollout.all if replicas_of(rs) > 0]
    if len(active) == 1:
        return active[0]
    if active:
        return None
    if rollout.new is not None:
        return rollout.new
    return rollout.old[-1] if rollout.old else None


def _is_saturated(rollout: Rollout) -> bool:
    """Whether the new ReplicaSet alone is the whole Deployment, all of it available."""
    new, goal = rollout.new, rollout.bounds.replicas
    if new is None:
        return False
    status = new.get("status") or {}
    return (
        replicas_of(new) == goal
        and _number(new, DESIRED_REPLICAS) == goal
        and status.get("availableReplicas", 0) == goal
    )


def _number(replica_set: Object, annotation: str) -> int | None:
    text = annotations_of(replica_set).get(annotation, "")
    return int(text) if text.isdecimal() else None


def _created(replica_set: Object) -> str:
    text: str = replica_set["metadata"].get("creationTimestamp") or ""
    return text
