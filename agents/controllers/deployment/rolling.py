"""Rolling update: new Pods up as far as surge allows, old ones down as far as availability does.

One plan goes one way: if it may scale up it does only that, so that each step is seen by the cache
before the next is taken.

Source: Kubernetes documentation, "Deployments, Rolling Update Deployment" and "Rollover".
"""

from __future__ import annotations

from agents.controllers.deployment.rollout import Rollout, available, wanted
from agents.controllers.deployment.strategy import replicas_of


def new_size(rollout: Rollout, current: int) -> int:
    """How many Pods the new ReplicaSet, which wants `current`, may want now."""
    room = rollout.bounds.pods_max - wanted(rollout.all)
    if room <= 0:
        return current
    return current + min(room, rollout.bounds.replicas - current)


def scale_up_new(rollout: Rollout) -> bool:
    """Move the new ReplicaSet towards the wanted size; False where that changes nothing."""
    assert rollout.new is not None
    current = replicas_of(rollout.new)
    goal = rollout.bounds.replicas
    if current == goal:
        return False
    return rollout.scale(rollout.new, goal if current > goal else new_size(rollout, current))


def scale_down_old(rollout: Rollout) -> bool:
    """Move the old ReplicaSets towards none; False where nothing may end now.

    Old Pods that are not available go first, since their end costs nothing. New Pods that are not
    available yet count against what may end, or a template that never gets ready would eat the old
    Pods one by one.
    """
    assert rollout.new is not None
    if wanted(rollout.old) == 0:
        return False
    waiting = replicas_of(rollout.new) - available(rollout.new)
    allowance = wanted(rollout.all) - rollout.bounds.available_min - waiting
    if allowance <= 0:
        return False
    old = rollout.active_old
    dead = _taken([replicas_of(rs) - available(rs) for rs in old], allowance)
    spare = sum(map(available, rollout.all)) - rollout.bounds.available_min
    left = [replicas_of(rs) - gone for rs, gone in zip(old, dead, strict=True)]
    alive = _taken(left, min(spare, allowance - sum(dead)))
    scaled = [
        rollout.scale(rs, size - gone)
        for rs, size, gone in zip(old, left, alive, strict=True)
        if size - gone != replicas_of(rs)
    ]
    return any(scaled)


def _taken(amounts: list[int], count: int) -> list[int]:
    """`count` in all taken from `amounts`, the first ones first; less where they hold less."""
    taken: list[int] = []
    for amount in amounts:
        taken.append(max(0, min(amount, count)))
        count -= taken[-1]
    return taken
