"""Which Pods a node's NoExecute taints drive off, and when.

Source: Kubernetes documentation, "Taints and Tolerations, Taint based Evictions"
(tolerationSeconds).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agents.controllers.node_lifecycle.taint import NO_EXECUTE, Taint, taints_of, tolerates
from kubraft.api.object import Object
from kubraft.api.time import parse_time

AT_ONCE = datetime.min.replace(tzinfo=UTC)


def evicting_taints(node: Object) -> list[Taint]:
    """The NoExecute taints of `node`, whoever set them."""
    return [taint for taint in taints_of(node) if taint.get("effect") == NO_EXECUTE]


def evict_at(pod: Object, taints: list[Taint], first_seen: datetime) -> datetime | None:
    """When `pod` must leave a node with these NoExecute taints; None where it may stay.

    A toleration with `tolerationSeconds` lasts that long from the taint's `timeAdded`, so that a
    restart of this process gives nobody more time. Of several tolerations of a taint the first
    counts, of several taints the earliest moment.

    Args:
        pod: as stored.
        taints: NoExecute ones only.
        first_seen: stands for `timeAdded` where a taint has none.
    """
    moments: list[datetime] = []
    tolerations = (pod.get("spec") or {}).get("tolerations") or ()
    for taint in taints:
        match = next((t for t in tolerations if tolerates(t, taint)), None)
        if match is None:
            return AT_ONCE
        seconds = match.get("tolerationSeconds")
        if seconds is None:
            continue
        added = parse_time(taint["timeAdded"]) if taint.get("timeAdded") else first_seen
        moments.append(added + timedelta(seconds=seconds) if seconds > 0 else AT_ONCE)
    return min(moments, default=None)
