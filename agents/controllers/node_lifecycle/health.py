"""What a silent node's conditions say, and what its Pods' conditions say then.

Source: Kubernetes documentation, "Nodes, Conditions" and "Node heartbeats"; API reference,
NodeCondition.
"""

from __future__ import annotations

from datetime import datetime

from kubraft.api.conditions import conditions_of, find_condition, with_condition
from kubraft.api.object import Object
from kubraft.api.time import format_time

# The conditions that only the node itself can know.
NODE_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


def readiness(node: Object) -> str:
    """Status of condition Ready: "True", "False", "Unknown"; the last where it has none."""
    ready = find_condition(conditions_of(node), "Ready")
    return ready.get("status", "Unknown") if ready else "Unknown"


def lost(node: Object, now: datetime) -> Object | None:
    """`node` with its conditions Unknown; None where they are already."""
    conditions = conditions_of(node)
    for type_ in NODE_CONDITIONS:
        known = find_condition(conditions, type_)
        if known is not None and known.get("status") == "Unknown":
            continue
        fresh = {"type": type_, "status": "Unknown"}
        if known is None:
            created = node["metadata"].get("creationTimestamp") or format_time(now)
            fresh |= {
                "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
                "lastHeartbeatTime": created,
            }
        else:
            fresh |= {
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
            }
            if beat := known.get("lastHeartbeatTime"):
                fresh["lastHeartbeatTime"] = beat
        conditions = with_condition(conditions, fresh, now)
    if conditions == conditions_of(node):
        return None
    return {**node, "status": {**(node.get("status") or {}), "conditions": conditions}}


def not_ready(pod: Object, now: datetime) -> Object | None:
    """`pod` with condition Ready False, so that no traffic goes there; None where it is already."""
    ready = find_condition(conditions_of(pod), "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    fresh = {k: v for k, v in ready.items() if k != "lastTransitionTime"} | {"status": "False"}
    conditions = with_condition(conditions_of(pod), fresh, now)
    return {**pod, "status": {**pod["status"], "conditions": conditions}}
