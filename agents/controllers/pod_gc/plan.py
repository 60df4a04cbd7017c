"""Which Pods nobody else will remove.

    terminated      too many have ended: the oldest go
    orphaned        the node is gone
    unscheduled     terminating and never bound, so there is no node agent to end it
    out of service  terminating on a node that an operator declared out of service
    unreachable     terminating, and its node has been silent for too long to confirm the end

Source: Kubernetes documentation, "Pod Lifecycle, Garbage collection of Pods" and "Non-graceful node
shutdown". The last rule is ours: docs/node-failure.md says when it applies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from agents.controllers.node_lifecycle.taint import UNREACHABLE, taints_of
from kubraft.api.conditions import conditions_of, find_condition, with_condition
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import is_terminated, node_of
from kubraft.api.time import parse_time

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


class Cause(Enum):
    """Why a Pod is removed without its node agent."""

    TERMINATED = "too many terminated Pods"
    ORPHANED = "its node is gone"
    UNSCHEDULED = "terminating without a node"
    OUT_OF_SERVICE = "its node is out of service"
    UNREACHABLE = "its node has been unreachable for too long"


@dataclass(frozen=True, slots=True)
class Rules:
    """Bounds, from flags.

    `terminated_threshold` is how many ended Pods may stay; 0 or less keeps all.
    `unreachable_s` is how long after a Pod's grace period, on a node that stays unreachable, the
    Pod is removed; None waits for the node for ever, as upstream does.
    """

    terminated_threshold: int = 12_500
    unreachable_s: float | None = None


def telling_taints(node: Object) -> list[dict[str, str]]:
    """The taints by which Pods are judged; all others say nothing here, and nodes have many."""
    return [t for t in taints_of(node) if t["key"] in (UNREACHABLE, OUT_OF_SERVICE)]


def plan(
    pods: Iterable[Object], nodes: Mapping[str, Object], rules: Rules, now: datetime
) -> list[tuple[Object, Cause]]:
    """The Pods to remove with grace period 0, each once.

    Args:
        pods: all of them.
        nodes: by name. A Pod whose node is missing here is only a suspect: the caller asks the
            API server before it acts on `Cause.ORPHANED`.
        rules: the bounds.
        now: the wall clock.
    """
    found: list[tuple[Object, Cause]] = []
    ended: list[Object] = []
    for pod in pods:
        if cause := _cause(pod, nodes, rules, now):
            found.append((pod, cause))
        elif is_terminated(pod):
            ended.append(pod)
    surplus = len(ended) - rules.terminated_threshold
    if rules.terminated_threshold > 0 and surplus > 0:
        ended.sort(key=lambda p: (p["metadata"]["creationTimestamp"], p["metadata"]["name"]))
        found += [(pod, Cause.TERMINATED) for pod in ended[:surplus]]
    return found


def next_check_s(
    pods: Iterable[Object], nodes: Mapping[str, Object], rules: Rules, now: datetime
) -> float | None:
    """Seconds until the first Pod of an unreachable node is due; None where none is."""
    moments = [_unreachable_due(pod, nodes.get(node_of(pod)), rules) for pod in pods]
    waits = [(moment - now).total_seconds() for moment in moments if moment is not None]
    return max(min(waits), 0.0) if waits else None


# What condition DisruptionTarget says of a Pod that is removed for this cause.
_TOLD = {
    Cause.ORPHANED: "PodGC: node no longer exists",
    Cause.UNREACHABLE: "PodGC: node is unreachable",
    Cause.OUT_OF_SERVICE: "PodGC: node is out of service",
}


def failed(pod: Object, cause: Cause, now: datetime) -> Object | None:
    """`pod` marked Failed, with the reason, before it is removed; None where it need not be."""
    if is_terminated(pod) or cause not in _TOLD:
        return None
    fresh = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByPodGC",
        "message": _TOLD[cause],
    }
    conditions = with_condition(conditions_of(pod), fresh, now)
    status = {**(pod.get("status") or {}), "phase": "Failed", "conditions": conditions}
    return {**pod, "status": status}


def _cause(pod: Object, nodes: Mapping[str, Object], rules: Rules, now: datetime) -> Cause | None:
    name = node_of(pod)
    if not name:
        return Cause.UNSCHEDULED if is_terminating(pod) else None
    node = nodes.get(name)
    if node is None:
        return Cause.ORPHANED
    if not is_terminating(pod):
        return None
    if any(taint["key"] == OUT_OF_SERVICE for taint in taints_of(node)) and not _is_ready(node):
        return Cause.OUT_OF_SERVICE
    due = _unreachable_due(pod, node, rules)
    return Cause.UNREACHABLE if due is not None and due <= now else None


def _unreachable_due(pod: Object, node: Object | None, rules: Rules) -> datetime | None:
    """When a terminating Pod of an unreachable node is removed.

    `deletionTimestamp` is the end of the grace period. The node's silence counts from its taint.
    """
    if node is None or rules.unreachable_s is None or not is_terminating(pod):
        return None
    added = [t.get("timeAdded") for t in taints_of(node) if t["key"] == UNREACHABLE]
    if not added:
        return None
    since = [parse_time(moment) for moment in added if moment]
    since.append(parse_time(pod["metadata"]["deletionTimestamp"]))
    return max(since) + timedelta(seconds=rules.unreachable_s)


def _is_ready(node: Object) -> bool:
    ready = find_condition(conditions_of(node), "Ready")
    return ready is not None and ready.get("status") == "True"
