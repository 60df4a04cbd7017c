"""A node as the scheduler sees it: what it has, and what the Pods on it take.

Values are immutable: adding a Pod makes a new NodeInfo. So a cluster snapshot is only a dictionary
of them, costs nothing to keep, and "what if that Pod were gone" is one more value.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import Any, TypeVar

from agents.scheduler.pod_info import Amounts, HostPort, PodInfo
from kubraft.api.object import Object, ObjectKey, labels_of
from kubraft.api.quantity import parse_quantity

T = TypeVar("T")

# Answers that are remembered for one value of a node.
MEMO_MAX = 256

# Pods that a node takes where its status does not say.
PODS = "pods"


@dataclass(frozen=True, slots=True)
class Taint:
    """What keeps Pods away that do not tolerate it."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, eq=False)
class NodeInfo:
    """One node with its Pods; `node` is None where Pods name a node that is not there."""

    name: str
    node: Object | None
    allocatable: Amounts
    requested: Amounts
    scored: Amounts  # CPU and memory with the defaults for scoring
    pods: Mapping[ObjectKey, PodInfo]
    owners: Mapping[str, int]  # Pods by the uid of their controller
    affine: Mapping[ObjectKey, PodInfo]  # those with affinity to other Pods

    @cached_property
    def labels(self) -> dict[str, str]:
        return labels_of(self.node) if self.node else {}

    @cached_property
    def taints(self) -> tuple[Taint, ...]:
        spec = (self.node or {}).get("spec") or {}
        return tuple(
            Taint(taint["key"], taint.get("value") or "", taint.get("effect") or "")
            for taint in spec.get("taints") or ()
        )

    @cached_property
    def unschedulable(self) -> bool:
        return bool(((self.node or {}).get("spec") or {}).get("unschedulable"))

    @cached_property
    def host_ports(self) -> frozenset[HostPort]:
        return frozenset(port for pod in self.pods.values() for port in pod.host_ports)

    @cached_property
    def lowest_priority(self) -> float:
        """Of its Pods; infinite where it has none."""
        return min((pod.priority for pod in self.pods.values()), default=inf)

    @cached_property
    def image_sizes(self) -> dict[str, int]:
        """Bytes by each name of the images that the node has."""
        images = ((self.node or {}).get("status") or {}).get("images") or ()
        return {name: i.get("sizeBytes") or 0 for i in images for name in i.get("names") or ()}

    @cached_property
    def memo(self) -> dict[Hashable, Any]:
        """What was found out about this very value, which cannot change; see `remember`."""
        return {}

    def remember(self, key: Hashable, answer: T) -> T:
        """Put an answer into `memo`."""
        if len(self.memo) >= MEMO_MAX:
            self.memo.clear()
        self.memo[key] = answer
        return answer

    def free(self, resource: str) -> int:
        """How much of a resource is left; negative where more was given than there is."""
        return self.allocatable.get(resource, 0) - self.requested.get(resource, 0)

    def with_node(self, node: Object | None) -> NodeInfo:
        """The same Pods on another version of the node."""
        allocatable = node_allocatable(node) if node else {}
        return replace(self, node=node, allocatable=allocatable)

    def with_pod(self, pod: PodInfo) -> NodeInfo:
        """The node once it has `pod` too (in place of an older version of it)."""
        known = self.pods.get(pod.key)
        if known is not None and known.takes_the_same(pod):
            return self._with_version(pod)
        base = self.without_pod(pod.key) if known is not None else self
        owners = base.owners
        if pod.owner_uid:
            owners = {**owners, pod.owner_uid: owners.get(pod.owner_uid, 0) + 1}
        return replace(
            base,
            pods={**base.pods, pod.key: pod},
            requested=_sum(base.requested, pod.requests, 1),
            scored=_sum(base.scored, pod.scored, 1),
            owners=owners,
            affine={**base.affine, pod.key: pod} if pod.affinity else base.affine,
        )

    def _with_version(self, pod: PodInfo) -> NodeInfo:
        """The same for all plugins: what is remembered of this value holds for that one."""
        made = replace(
            self,
            pods={**self.pods, pod.key: pod},
            affine={**self.affine, pod.key: pod} if pod.affinity else self.affine,
        )
        made.__dict__["memo"] = self.memo
        return made

    def without_pod(self, key: ObjectKey) -> NodeInfo:
        """The node once the Pod of that key, which it has, is gone."""
        pods = dict(self.pods)
        pod = pods.pop(key)
        owners = self.owners
        if pod.owner_uid:
            owners = {**owners, pod.owner_uid: owners[pod.owner_uid] - 1}
            if not owners[pod.owner_uid]:
                del owners[pod.owner_uid]
        return replace(
            self,
            pods=pods,
            requested=_sum(self.requested, pod.requests, -1),
            scored=_sum(self.scored, pod.scored, -1),
            owners=owners,
            affine=(
                {k: p for k, p in self.affine.items() if k != key}
                if key in self.affine
                else self.affine
            ),
        )


def empty_node(name: str, node: Object | None = None) -> NodeInfo:
    """A node without Pods."""
    allocatable = node_allocatable(node) if node else {}
    return NodeInfo(name, node, allocatable, {}, {"cpu": 0, "memory": 0}, {}, {}, {})


def node_allocatable(node: Object) -> Amounts:
    """`status.allocatable` in whole numbers; CPU in thousandths."""
    status = node.get("status") or {}
    amounts = status.get("allocatable") or status.get("capacity") or {}
    return {
        name: parse_quantity(text).milli_value() if name == "cpu" else parse_quantity(text).value()
        for name, text in amounts.items()
    }


def _sum(total: Amounts, amounts: Amounts, sign: int) -> Amounts:
    result = dict(total)
    for name, amount in amounts.items():
        result[name] = result.get(name, 0) + sign * amount
    return result
