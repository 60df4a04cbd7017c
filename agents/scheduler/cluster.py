"""The scheduler's picture of the cluster: nodes, the Pods on them, and those on their way there.

A Pod is *assumed* on its node from the decision until the API server shows it bound, so that the
next decision counts it. An assumed Pod leaves only when it is shown bound or gone, or when its
binding is known to have failed: time alone never frees what it takes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import NamedTuple

from agents.scheduler.node_info import NodeInfo, empty_node
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.tally import CHANGES_MAX, Contribute, Tallies, Totals, summed
from kubraft.api.object import Object, ObjectKey


@dataclass(frozen=True)
class Snapshot:
    """All nodes as they were at one moment. Immutable."""

    nodes: Mapping[str, NodeInfo]
    node_list: Sequence[NodeInfo]  # in the order of `layout`
    layout: Layout
    # Pods that are to come to a node once others have left it, by node.
    nominated: Mapping[str, tuple[PodInfo, ...]]
    _tallies: Tallies
    _version: int  # of the tallies

    def totals(self, key: Hashable, contribute: Contribute) -> Totals:
        """What all nodes contribute, by domain; read-only, and valid for one decision.

        `key` must name all that `contribute` depends on besides the node.
        """
        if self._tallies.version != self._version:
            return summed(self.nodes.values(), contribute)
        return self._tallies.totals(key, self.nodes, contribute)


class Layout(NamedTuple):
    """What is known of the nodes whatever Pods they have; made anew only when a node changes."""

    # Those of different zones take turns, so that a part of the nodes is a fair sample.
    order: tuple[str, ...]
    # Mostly no node has any, and then nothing needs to be checked.
    has_taints: bool
    has_cordoned: bool


def layout_of(nodes: Mapping[str, NodeInfo]) -> Layout:
    """Read the nodes' layout."""
    zones: dict[str, list[str]] = {}
    for name in sorted(nodes):
        zones.setdefault(nodes[name].labels.get(ZONE_LABEL, ""), []).append(name)
    rounds = zip_longest(*(zones[zone] for zone in sorted(zones)))
    order = tuple(name for each in rounds for name in each if name is not None)
    return Layout(
        order,
        has_taints=any(node.taints for node in nodes.values()),
        has_cordoned=any(node.unschedulable for node in nodes.values()),
    )


ZONE_LABEL = "topology.kubernetes.io/zone"
HOSTNAME_LABEL = "kubernetes.io/hostname"


@dataclass(slots=True)
class Cluster:
    """What is known now; changed by the informers' handlers and by decisions, in one task each."""

    _nodes: dict[str, NodeInfo] = field(default_factory=dict)
    _pods: dict[ObjectKey, PodInfo] = field(default_factory=dict)  # those on a node
    _assumed: dict[ObjectKey, str] = field(default_factory=dict)  # uid by key
    # Pods without a node for whose sake others are leaving the node named first.
    _nominated: dict[ObjectKey, tuple[str, PodInfo]] = field(default_factory=dict)
    _snapshot: Snapshot | None = None
    # The nodes that exist, by name and in the layout's order, and where each is in it.
    _live: dict[str, NodeInfo] = field(default_factory=dict)
    _list: list[NodeInfo] = field(default_factory=list)
    _positions: dict[str, int] = field(default_factory=dict)
    _layout: Layout | None = None
    _tallies: Tallies = field(default_factory=Tallies)

    def snapshot(self) -> Snapshot:
        """The nodes that exist, as of now; the same value while nothing changes."""
        if self._snapshot is None:
            if self._layout is None:
                self._layout = layout_of(self._live)
                self._list = [self._live[name] for name in self._layout.order]
                self._positions = {name: i for i, name in enumerate(self._layout.order)}
            if self._tallies.version > CHANGES_MAX:
                self._tallies = Tallies()
            self._snapshot = Snapshot(
                self._live.copy(),
                self._list.copy(),
                self._layout,
                self._nominations(),
                self._tallies,
                self._tallies.version,
            )
        return self._snapshot

    def nominate(self, pod: PodInfo, node_name: str) -> None:
        """Keep room on the node for `pod`, which waits for others to leave it; "" ends that."""
        if node_name:
            self._nominated[pod.key] = (node_name, pod)
            self._snapshot = None
        elif self._nominated.pop(pod.key, None):
            self._snapshot = None

    def nomination(self, key: ObjectKey) -> str:
        """The node that is to be the Pod's once others have left it, or ""."""
        nominated = self._nominated.get(key)
        return nominated[0] if nominated else ""

    def nominated_below(self, pod: PodInfo, node_name: str) -> list[PodInfo]:
        """Pods of lower priority that are nominated for the node."""
        return [
            other
            for name, other in self._nominated.values()
            if name == node_name and other.priority < pod.priority
        ]

    def _nominations(self) -> dict[str, tuple[PodInfo, ...]]:
        found: dict[str, tuple[PodInfo, ...]] = {}
        for node_name, pod in self._nominated.values():
            found[node_name] = (*found.get(node_name, ()), pod)
        return found

    def node(self, name: str) -> NodeInfo | None:
        """One node with its Pods, or None."""
        return self._nodes.get(name)

    def set_node(self, node: Object) -> NodeInfo:
        """Add a node, or take over its new version."""
        self._layout = None
        name = node["metadata"]["name"]
        known = self._nodes.get(name)
        info = known.with_node(node) if known else empty_node(name, node)
        self._put(info)
        return info

    def remove_node(self, name: str) -> None:
        """Forget a node; its Pods stay counted in case it comes back."""
        known = self._nodes.get(name)
        if known is None:
            return
        self._layout = None
        if known.pods:
            self._put(known.with_node(None))
        else:
            self._drop(name)

    def set_pod(self, pod: PodInfo) -> None:
        """Take over a Pod that the API server shows on a node; ends its being assumed."""
        assert pod.node_name
        self._assumed.pop(pod.key, None)
        self._nominated.pop(pod.key, None)
        self._place(pod)

    def remove_pod(self, key: ObjectKey) -> PodInfo | None:
        """Free what the Pod takes: it ended or is gone. Returns it, if it was there."""
        self._assumed.pop(key, None)
        if self._nominated.pop(key, None):
            self._snapshot = None
        return self._displace(key)

    def assume(self, pod: PodInfo, node_name: str) -> None:
        """Count `pod` on the node that was chosen for it."""
        assert pod.key not in self._pods
        self._nominated.pop(pod.key, None)
        self._assumed[pod.key] = pod.uid
        self._place(_on_node(pod, node_name))

    def forget(self, pod: PodInfo) -> bool:
        """Take back `assume`: the binding failed. False where the Pod is no longer assumed."""
        if self._assumed.get(pod.key) != pod.uid:
            return False
        del self._assumed[pod.key]
        self._displace(pod.key)
        return True

    def is_assumed(self, key: ObjectKey) -> bool:
        """Whether the Pod is on its way to a node."""
        return key in self._assumed

    def node_of(self, key: ObjectKey) -> str:
        """The node that the Pod counts on, or ""."""
        pod = self._pods.get(key)
        return pod.node_name if pod else ""

    def _place(self, pod: PodInfo) -> None:
        old = self._pods.get(pod.key)
        if old and old.node_name != pod.node_name:
            self._displace(pod.key)
        self._pods[pod.key] = pod
        known = self._nodes.get(pod.node_name) or empty_node(pod.node_name)
        # Most news of a Pod change nothing for whoever looks at its node.
        counts = old is None or old.node_name != pod.node_name or not old.takes_the_same(pod)
        self._put(known.with_pod(pod), counts=counts)

    def _displace(self, key: ObjectKey) -> PodInfo | None:
        pod = self._pods.pop(key, None)
        if pod is None:
            return None
        info = self._nodes[pod.node_name].without_pod(key)
        if info.node is None and not info.pods:
            self._drop(pod.node_name)
        else:
            self._put(info)
        return pod

    def _put(self, info: NodeInfo, *, counts: bool = True) -> None:
        """Take over another value of a node; `counts` is False where no sum is different."""
        name = info.name
        self._nodes[name] = info
        if info.node is None:
            self._live.pop(name, None)
        else:
            self._live[name] = info
            if self._layout is not None:
                self._list[self._positions[name]] = info
        if counts:
            self._tallies.changed(name)
        self._snapshot = None

    def _drop(self, name: str) -> None:
        del self._nodes[name]
        self._live.pop(name, None)
        self._tallies.changed(name)
        self._snapshot = None


def _on_node(pod: PodInfo, node_name: str) -> PodInfo:
    return replace(pod, node_name=node_name)
