"""The taints by which a node's conditions keep Pods away or drive them off, and who tolerates them.

Source: Kubernetes documentation, "Taints and Tolerations", "Taint Nodes by Condition" and
"Taint based Evictions".
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agents.controllers.node_lifecycle.health import readiness
from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.object import Object
from kubraft.api.time import format_time

Taint = dict[str, Any]

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "NoExecute"

# condition: status: taint
_BY_CONDITION = {
    "Ready": {"False": NOT_READY, "Unknown": UNREACHABLE},
    "MemoryPressure": {"True": "node.kubernetes.io/memory-pressure"},
    "DiskPressure": {"True": "node.kubernetes.io/disk-pressure"},
    "PIDPressure": {"True": "node.kubernetes.io/pid-pressure"},
    "NetworkUnavailable": {"True": "node.kubernetes.io/network-unavailable"},
}
_OURS = {(key, NO_SCHEDULE) for by in _BY_CONDITION.values() for key in by.values()} | {
    (UNSCHEDULABLE, NO_SCHEDULE),
    (NOT_READY, NO_EXECUTE),
    (UNREACHABLE, NO_EXECUTE),
}


def taints_of(node: Object) -> list[Taint]:
    """`spec.taints`, empty where absent."""
    taints: list[Taint] = node["spec"].get("taints") or [] if node.get("spec") else []
    return taints


def evicting_taint(node: Object) -> str | None:
    """The key of the NoExecute taint that condition Ready asks for; None for a ready node."""
    if find_condition(conditions_of(node), "Ready") is None:
        return None
    return _BY_CONDITION["Ready"].get(readiness(node))


def keys_of_conditions(node: Object) -> set[str]:
    """The keys of the NoSchedule taints that the node's conditions, and a cordon, ask for."""
    keys = {
        by[status]
        for type_, by in _BY_CONDITION.items()
        if (found := find_condition(conditions_of(node), type_))
        and (status := found.get("status", "")) in by
    }
    return keys | {UNSCHEDULABLE} if (node.get("spec") or {}).get("unschedulable") else keys


def tainted(node: Object, *, evict: bool, now: datetime) -> Object | None:
    """`node` with the taints that its conditions ask for and without those they no longer do.

    Taints of other keys, and the time since which one stands, stay as they are.

    Args:
        evict: whether a NoExecute taint may be added; one that stands is kept or changed anyway.

    Returns:
        None where nothing changes.
    """
    old = taints_of(node)
    wanted = {(key, NO_SCHEDULE) for key in keys_of_conditions(node)}
    driving = evicting_taint(node)
    stands = any(t.get("effect") == NO_EXECUTE and (t["key"], NO_EXECUTE) in _OURS for t in old)
    if driving is not None and (evict or stands):
        wanted.add((driving, NO_EXECUTE))
    kept = [t for t in old if _identity(t) not in _OURS or _identity(t) in wanted]
    present = {_identity(t) for t in kept}
    added = [
        {"key": key, "effect": effect, "timeAdded": format_time(now)}
        for key, effect in sorted(wanted - present)
    ]
    if not added and len(kept) == len(old):
        return None
    return _with_taints(node, kept + added)


def untainted(node: Object) -> Object | None:
    """`node` without our NoExecute taints; None where it has none."""
    kept = [t for t in taints_of(node) if _identity(t) not in _OURS or t["effect"] != NO_EXECUTE]
    return None if len(kept) == len(taints_of(node)) else _with_taints(node, kept)


def tolerates(toleration: dict[str, Any], taint: Taint) -> bool:
    """Whether one toleration covers `taint`; without key or effect it covers all of them."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (
        taint.get("value") or ""
    )


def _with_taints(node: Object, taints: list[Taint]) -> Object:
    spec = {k: v for k, v in (node.get("spec") or {}).items() if k != "taints"}
    if taints:
        spec["taints"] = taints
    return {**node, "spec": spec}


def _identity(taint: Taint) -> tuple[str, str]:
    return taint["key"], taint.get("effect", "")
