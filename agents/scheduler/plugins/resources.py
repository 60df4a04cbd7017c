"""Resources: whether a node has room for a Pod, and which node it leaves in the best shape.

Source: Kubernetes documentation, "Resource Management for Pods and Containers"; kube-scheduler's
scoring strategies (LeastAllocated, MostAllocated, RequestedToCapacityRatio) and balanced
allocation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from math import sqrt
from typing import Any

from agents.scheduler.cluster import Snapshot
from agents.scheduler.framework import SCORE_MAX, Change, Check, Plugin, Rejection
from agents.scheduler.node_info import PODS, NodeInfo
from agents.scheduler.pod_info import Amounts, PodInfo

# From the share of a resource that would be in use, 0 to 1, to a score.
Rate = Callable[[float], float]

_CPU_AND_MEMORY = ({"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1})
_SHAPE_SCORE_MAX = 10  # as configurations count


class NodeResourcesFit(Plugin):
    """Keeps Pods off nodes without room; prefers nodes by how much of it would be in use."""

    name = "NodeResourcesFit"
    requeue_on = Change.NODE_ADDED | Change.NODE_ALLOCATABLE | Change.POD_GONE | Change.POD_UPDATED

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        """Raises ValueError where an argument is wrong."""
        given = args or {}
        strategy = given.get("scoringStrategy") or {}
        self._rate = _rate(strategy)
        self._weights = _weights(strategy.get("resources") or _CPU_AND_MEMORY)
        self._ignored = tuple(given.get("ignoredResources") or ())
        self._ignored += tuple(f"{group}/*" for group in given.get("ignoredResourceGroups") or ())

    def signature(self, pod: PodInfo) -> Hashable:
        return (*pod.requests.items(), *pod.scored.items())

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        requests = self._requests(pod)
        items = tuple(requests.items())

        def check(node: NodeInfo) -> Rejection | None:
            allocatable, requested = node.allocatable, node.requested
            if len(node.pods) >= allocatable.get(PODS, 0):
                return _shortage(requests, node)
            for name, amount in items:
                if amount > allocatable.get(name, 0) - requested.get(name, 0):
                    return _shortage(requests, node)
            return None

        return check

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        return _shortage(self._requests(pod), node) is None

    def score_node(self, pod: PodInfo, node: NodeInfo) -> float:
        total = weights = 0.0
        for name, weight in self._weights:
            there = node.allocatable.get(name, 0)
            amount = pod.scored.get(name, pod.requests.get(name, 0))
            if not there or (name not in pod.scored and not amount):
                continue
            used = node.scored.get(name, node.requested.get(name, 0)) + amount
            total += weight * self._rate(used / there)
            weights += weight
        return total / weights if weights else 0.0

    def _requests(self, pod: PodInfo) -> Amounts:
        if not self._ignored:
            return pod.requests
        return {
            name: amount
            for name, amount in pod.requests.items()
            if not any(fnmatchcase(name, pattern) for pattern in self._ignored)
        }


def _shortage(requests: Amounts, node: NodeInfo) -> Rejection | None:
    """All that the node lacks, in upstream's words; None where it has room."""
    reasons = []
    resolvable = True
    if len(node.pods) >= node.allocatable.get(PODS, 0):
        reasons.append("Too many pods")
    for name, amount in requests.items():
        if amount > node.free(name):
            reasons.append(f"Insufficient {name}")
            resolvable = resolvable and amount <= node.allocatable.get(name, 0)
    return Rejection(tuple(reasons), resolvable) if reasons else None


def _weights(resources: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, float], ...]:
    found = tuple((each["name"], each.get("weight", 1)) for each in resources)
    for name, weight in found:
        if not 1 <= weight <= 100:
            raise ValueError(f"resource weight of {name} not in valid range [1-100]")
    return found


def _rate(strategy: Mapping[str, Any]) -> Rate:
    kind = strategy.get("type", "LeastAllocated")
    if kind == "LeastAllocated":
        return lambda used: SCORE_MAX * max(1 - used, 0.0)
    if kind == "MostAllocated":
        return lambda used: SCORE_MAX * min(used, 1.0)
    if kind == "RequestedToCapacityRatio":
        given = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or ()
        return _shaped([(point["utilization"], point["score"]) for point in given])
    raise ValueError(f'scoringStrategy.type: Unsupported value: "{kind}"')


def _shaped(shape: Sequence[tuple[float, float]]) -> Rate:
    """A line through points of use in percent and score up to 10."""
    if not shape:
        raise ValueError("shape: at least one point must be specified")
    if any(a[0] >= b[0] for a, b in pairwise(shape)):
        raise ValueError("shape: utilization values must be sorted in increasing order")

    def rate(used: float) -> float:
        percent = min(used, 1.0) * 100
        if percent <= shape[0][0]:
            return shape[0][1] * SCORE_MAX / _SHAPE_SCORE_MAX
        for (x, low), (to, high) in pairwise(shape):
            if percent <= to:
                score = low + (high - low) * (percent - x) / (to - x)
                return score * SCORE_MAX / _SHAPE_SCORE_MAX
        return shape[-1][1] * SCORE_MAX / _SHAPE_SCORE_MAX

    return rate


class NodeResourcesBalancedAllocation(Plugin):
    """Prefers nodes of which the Pod takes the resources in even parts."""

    name = "NodeResourcesBalancedAllocation"

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        """Raises ValueError where an argument is wrong."""
        resources = (args or {}).get("resources") or _CPU_AND_MEMORY
        self._names = tuple(name for name, _ in _weights(resources))

    def signature(self, pod: PodInfo) -> Hashable:
        return tuple(pod.requests.get(name, 0) for name in self._names)

    def score_node(self, pod: PodInfo, node: NodeInfo) -> float:
        if not any(name in pod.requests for name in self._names):
            return 0.0
        parts = [
            min((node.requested.get(name, 0) + pod.requests.get(name, 0)) / there, 1.0)
            for name in self._names
            if (there := node.allocatable.get(name, 0))
        ]
        return SCORE_MAX * (1 - _deviation(parts))


def _deviation(parts: Sequence[float]) -> float:
    """The standard deviation of how full the node's resources would be, 0 to 0.5."""
    if len(parts) < 2:
        return 0.0
    mean = sum(parts) / len(parts)
    return sqrt(sum((part - mean) ** 2 for part in parts) / len(parts))
