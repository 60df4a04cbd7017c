"""Resources: whether a node has room for a Pod, and which node it leaves in the best shape.

Source: Kubernetes documentation, "Resource Management for Pods and Containers"; kube-scheduler's
LeastAllocated and balanced allocation strategies.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from agents.scheduler.cluster import Snapshot
from agents.scheduler.framework import SCORE_MAX, Change, Check, Plugin, Rejection
from agents.scheduler.node_info import PODS, NodeInfo, remembered
from agents.scheduler.pod_info import PodInfo


class NodeResourcesFit(Plugin):
    """Keeps Pods off nodes without room; prefers nodes with much of it left."""

    name = "NodeResourcesFit"
    requeue_on = Change.NODE_ADDED | Change.NODE_ALLOCATABLE | Change.POD_GONE | Change.POD_UPDATED

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        requests = tuple(pod.requests.items())

        def check(node: NodeInfo) -> Rejection | None:
            allocatable, requested = node.allocatable, node.requested
            if len(node.pods) >= allocatable.get(PODS, 0):
                return _shortage(pod, node)
            for name, amount in requests:
                if amount > allocatable.get(name, 0) - requested.get(name, 0):
                    return _shortage(pod, node)
            return None

        return check

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        return _shortage(pod, node) is None

    def score(
        self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]
    ) -> Sequence[float] | None:
        cpu, memory = pod.scored["cpu"], pod.scored["memory"]

        def rate(node: NodeInfo) -> float:
            return (_left(node, "cpu", cpu) + _left(node, "memory", memory)) * (SCORE_MAX / 2)

        return remembered(nodes, (self.name, cpu, memory), rate)


def _shortage(pod: PodInfo, node: NodeInfo) -> Rejection | None:
    """All that the node lacks, in upstream's words; None where it has room."""
    reasons = []
    resolvable = True
    if len(node.pods) >= node.allocatable.get(PODS, 0):
        reasons.append("Too many pods")
    for name, amount in pod.requests.items():
        if amount > node.free(name):
            reasons.append(f"Insufficient {name}")
            resolvable = resolvable and amount <= node.allocatable.get(name, 0)
    return Rejection(tuple(reasons), resolvable) if reasons else None


def _left(node: NodeInfo, name: str, amount: int) -> float:
    """The part of a resource that is left once `amount` of it is taken, 0 to 1."""
    there = node.allocatable.get(name, 0)
    return max(there - node.scored[name] - amount, 0) / there if there else 0.0


class NodeResourcesBalancedAllocation(Plugin):
    """Prefers nodes of which the Pod takes CPU and memory in even parts."""

    name = "NodeResourcesBalancedAllocation"

    def score(
        self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]
    ) -> Sequence[float] | None:
        cpu, memory = pod.requests.get("cpu", 0), pod.requests.get("memory", 0)
        if not cpu and not memory:
            return None

        def rate(node: NodeInfo) -> float:
            return SCORE_MAX * (1 - _imbalance(pod, node))

        return remembered(nodes, (self.name, cpu, memory), rate)


def _imbalance(pod: PodInfo, node: NodeInfo) -> float:
    """The standard deviation of how full the node's resources would be, 0 to 0.5."""
    parts = [
        min((node.requested.get(name, 0) + pod.requests.get(name, 0)) / there, 1.0)
        for name in ("cpu", "memory")
        if (there := node.allocatable.get(name, 0))
    ]
    if len(parts) < 2:
        return 0.0
    mean = sum(parts) / len(parts)
    return sqrt(sum((part - mean) ** 2 for part in parts) / len(parts))
