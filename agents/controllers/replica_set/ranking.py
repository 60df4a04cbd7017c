"""Which Pods go first when there are too many.

Source: Kubernetes documentation, "ReplicaSet, Scaling a ReplicaSet" and "Pod deletion cost".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from kubraft.api.object import Object, annotations_of, uid_of
from kubraft.api.pods import is_active, is_pod_ready, node_of, phase_of, ready_since
from kubraft.api.time import parse_time

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_COST_LIMIT = 2**31
_PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}

# Sorts ascending: the first are deleted first.
Rank = tuple[bool, int, bool, int, int, int, int, int, str]


def to_delete(
    pods: Iterable[Object], count: int, *, related: Iterable[Object], now: datetime
) -> list[Object]:
    """The `count` Pods whose end costs least.

    In order: without a node; Pending, then Unknown, then Running; not ready; of a lower deletion
    cost; on a node with more Pods of the same owner; ready for less time; restarted more often;
    younger. Ages count in powers of two, so that among Pods of about the same age the choice does
    not always fall on those of one start.

    Args:
        related: the Pods that count for "more Pods of the same owner", those of sibling
            ReplicaSets too.
        now: the moment from which ages are taken.
    """
    pods = list(pods)
    if count >= len(pods):
        return pods
    crowd = Counter(node_of(p) for p in related if is_active(p) and node_of(p))
    return sorted(pods, key=lambda pod: rank(pod, crowd[node_of(pod)], now))[:count]


def rank(pod: Object, neighbours: int, now: datetime) -> Rank:
    """Where `pod` stands, with so many Pods of the same owner on its node."""
    ready = is_pod_ready(pod)
    return (
        bool(node_of(pod)),
        _PHASE_ORDER.get(phase_of(pod), 1),
        ready,
        _deletion_cost(pod),
        -neighbours,
        _age_rank(ready_since(pod), now) if ready else 0,
        -_restarts(pod),
        _age_rank(_created(pod), now),
        uid_of(pod),
    )


def _deletion_cost(pod: Object) -> int:
    """The annotation's number; 0 where it is absent or no 32-bit integer."""
    text = annotations_of(pod).get(DELETION_COST, "0")
    try:
        cost = int(text)
    except ValueError:
        return 0
    return cost if -_COST_LIMIT <= cost < _COST_LIMIT else 0


def _restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((s.get("restartCount", 0) for s in statuses), default=0)


def _created(pod: Object) -> datetime | None:
    text = pod["metadata"].get("creationTimestamp")
    return parse_time(text) if text else None


def _age_rank(since: datetime | None, now: datetime) -> int:
    """The power of two of the age in nanoseconds, as upstream; -1 for what has no age."""
    age_ns = int((now - (since or now)).total_seconds() * 1e9)
    return int(math.log2(age_ns)) if age_ns > 0 else -1
