"""Where the Pod itself says that it wants to be: node name, selector, node affinity, host ports.

Source: Kubernetes documentation, "Assigning Pods to Nodes".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from agents.scheduler.cluster import Snapshot
from agents.scheduler.framework import SCORE_MAX, Change, Check, Only, Plugin, Rejection
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.pod_info import HostPort, PodInfo
from kubraft.api.labels import LabelSelector, requirement_from_object, selector_from_labels

_ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared with, not bound

_NOT_NAMED = Rejection(("node(s) didn't match the requested node name",), resolvable=False)
_NOT_SELECTED = Rejection(("node(s) didn't match Pod's node affinity/selector",), resolvable=False)
_CONFLICT = Rejection(("pod affinity terms conflict",), resolvable=False)
_PORTS_TAKEN = Rejection(("node(s) didn't have free ports for the requested pod ports",))

NodePredicate = Callable[[NodeInfo], bool]


class NodeName(Plugin):
    """Keeps a Pod that asks for one node by name off all others."""

    name = "NodeName"
    requeue_on = Change.NODE_ADDED

    def signature(self, pod: PodInfo) -> Hashable:
        return pod.node_name

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        wanted = pod.node_name
        if not wanted:
            return None
        return lambda node: None if node.name == wanted else _NOT_NAMED

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        return node.name == pod.node_name


def required_nodes(pod: PodInfo) -> NodePredicate | None:
    """Which nodes its nodeSelector and required node affinity allow; None: all.

    A term that cannot be read matches no node.
    """
    selector = selector_from_labels(pod.spec.get("nodeSelector"))
    affinity = (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    terms = [_term(t) for t in required.get("nodeSelectorTerms") or ()] if required else None
    if selector.is_everything() and terms is None:
        return None

    def allows(node: NodeInfo) -> bool:
        if not selector.matches(node.labels):
            return False
        return terms is None or any(term(node) for term in terms)

    return allows


def _named_nodes(pod: PodInfo) -> frozenset[str] | None:
    """The nodes that its node affinity names one by one, as a DaemonSet's Pods do; None: any."""
    affinity = (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    found: frozenset[str] = frozenset()
    for term in required.get("nodeSelectorTerms") or ():
        each = [
            frozenset(field.get("values") or ())
            for field in term.get("matchFields") or ()
            if field.get("key") == "metadata.name" and field.get("operator") == "In"
        ]
        if not each:
            return None  # terms are alternatives
        found |= frozenset.intersection(*each)
    return found if required.get("nodeSelectorTerms") else None


def _term(term: Mapping[str, Any]) -> NodePredicate:
    """One term: all of its expressions must hold; an empty term holds nowhere."""
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return _nowhere
    try:
        labels = LabelSelector(requirement_from_object(e) for e in expressions)
        names = LabelSelector(requirement_from_object(f) for f in fields)
    except ValueError:
        return _nowhere
    return lambda node: labels.matches(node.labels) and names.matches({"metadata.name": node.name})


def _nowhere(_node: NodeInfo) -> bool:
    return False


class NodeAffinity(Plugin):
    """Node selector and node affinity: what is required, and what is preferred by weight."""

    name = "NodeAffinity"
    requeue_on = Change.NODE_ADDED | Change.NODE_LABELS | Change.POD_UPDATED

    def signature(self, pod: PodInfo) -> Hashable:
        return pod.placement

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | Only | Rejection | None:
        allows = required_nodes(pod)
        if allows is None:
            return None
        names = _named_nodes(pod)
        if names is not None and not names:
            return _CONFLICT

        def check(node: NodeInfo) -> Rejection | None:
            return None if allows(node) else _NOT_SELECTED

        return check if names is None else Only(names, check)

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        allows = required_nodes(pod)
        return allows is None or allows(node)

    def score(
        self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]
    ) -> Sequence[float] | None:
        affinity = (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
        preferred = [
            (preference["weight"], _term(preference["preference"]))
            for preference in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ]
        if not preferred:
            return None
        sums = [sum(weight for weight, term in preferred if term(node)) for node in nodes]
        highest = max(sums)
        return [SCORE_MAX * each / highest for each in sums] if highest else None


class NodePorts(Plugin):
    """Keeps Pods off nodes where a port of the host that they want is taken."""

    name = "NodePorts"
    requeue_on = Change.NODE_ADDED | Change.POD_GONE | Change.POD_UPDATED

    def signature(self, pod: PodInfo) -> Hashable:
        return pod.host_ports

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        if not pod.host_ports:
            return None
        return lambda node: _PORTS_TAKEN if self._conflict(pod, node) else None

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        return not self._conflict(pod, node)

    def _conflict(self, pod: PodInfo, node: NodeInfo) -> bool:
        return any(_clash(a, b) for a in pod.host_ports for b in node.host_ports)


def _clash(a: HostPort, b: HostPort) -> bool:
    return a[1:] == b[1:] and (a[0] == b[0] or _ANY_ADDRESS in (a[0], b[0]))
