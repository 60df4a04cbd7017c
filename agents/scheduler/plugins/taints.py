"""Taints and tolerations: nodes that only some Pods may use.

Source: Kubernetes documentation, "Taints and Tolerations".
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from agents.scheduler.cluster import Snapshot
from agents.scheduler.framework import SCORE_MAX, Change, Check, Plugin, Rejection
from agents.scheduler.node_info import NodeInfo, Taint
from agents.scheduler.pod_info import PodInfo, Toleration

_UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
_TAINTED = Rejection(("node(s) had untolerated taint(s)",), resolvable=False)
_CORDONED = Rejection(("node(s) were unschedulable",), resolvable=False)


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether `toleration` covers `taint`; an empty key with Exists covers all."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    if not toleration.key:
        return False
    if toleration.operator in ("Gt", "Lt"):
        return _compare(toleration, taint)
    return toleration.value == taint.value


def untolerated(
    taints: Iterable[Taint], tolerations: Sequence[Toleration], effects: tuple[str, ...]
) -> Taint | None:
    """The first taint with one of `effects` that no toleration covers."""
    for taint in taints:
        if taint.effect in effects and not any(tolerates(t, taint) for t in tolerations):
            return taint
    return None


def _compare(toleration: Toleration, taint: Taint) -> bool:
    try:
        on_node, given = int(taint.value), int(toleration.value)
    except ValueError:
        return False
    return on_node > given if toleration.operator == "Gt" else on_node < given


class TaintToleration(Plugin):
    """Keeps Pods off nodes with taints that they do not tolerate; avoids PreferNoSchedule."""

    name = "TaintToleration"
    requeue_on = Change.NODE_ADDED | Change.NODE_TAINTS | Change.POD_UPDATED

    def signature(self, pod: PodInfo) -> Hashable:
        return pod.tolerations

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        if not snapshot.layout.has_taints:
            return None
        tolerations = pod.tolerations

        def check(node: NodeInfo) -> Rejection | None:
            if not node.taints:
                return None
            effects = ("NoSchedule", "NoExecute")
            return _TAINTED if untolerated(node.taints, tolerations, effects) else None

        return check

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        return untolerated(node.taints, pod.tolerations, ("NoSchedule", "NoExecute")) is None

    def score(
        self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]
    ) -> Sequence[float] | None:
        if not snapshot.layout.has_taints:
            return None
        counts = [
            sum(
                taint.effect == "PreferNoSchedule"
                and not any(tolerates(t, taint) for t in pod.tolerations)
                for taint in node.taints
            )
            for node in nodes
        ]
        highest = max(counts)
        if highest == 0:
            return None
        return [SCORE_MAX * (1 - count / highest) for count in counts]


class NodeUnschedulable(Plugin):
    """Keeps Pods off nodes that were cordoned (`spec.unschedulable`)."""

    name = "NodeUnschedulable"
    requeue_on = Change.NODE_ADDED | Change.NODE_TAINTS | Change.POD_UPDATED

    def signature(self, pod: PodInfo) -> Hashable:
        return pod.tolerations

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        if not snapshot.layout.has_cordoned or self._tolerated(pod):
            return None
        return _check_cordoned

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        return not node.unschedulable or self._tolerated(pod)

    def _tolerated(self, pod: PodInfo) -> bool:
        return any(tolerates(toleration, _UNSCHEDULABLE) for toleration in pod.tolerations)


def _check_cordoned(node: NodeInfo) -> Rejection | None:
    return _CORDONED if node.unschedulable else None
