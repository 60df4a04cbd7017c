"""Pods that want to be near others, or far from them, and those already there that want it so.

A term counts Pods by the domain of its topology key; a tally of the whole cluster holds the counts,
so that a decision costs what changed since the last one like it.

Source: Kubernetes documentation, "Inter-pod affinity and anti-affinity"; kube-scheduler's
InterPodAffinity (symmetry, the first Pod of a group, hardPodAffinityWeight).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from agents.scheduler.cluster import Snapshot
from agents.scheduler.framework import SCORE_MAX, Change, Check, Plugin, Rejection
from agents.scheduler.handle import Handle
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.pod_affinity import AffinityTerm, Labels
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.tally import Contribute, Contribution, Totals, moved
from kubraft.api.gvk import NAMESPACE
from kubraft.api.object import ObjectKey, labels_of

_NOT_NEAR = Rejection(("node(s) didn't match pod affinity rules",), resolvable=False)
_NOT_FAR = Rejection(("node(s) didn't match pod anti-affinity rules",))
_NOT_WANTED = Rejection(("node(s) didn't satisfy existing pods anti-affinity rules",))

HARD_WEIGHT = 1  # of a Pod there that requires this one near

NamespaceLabels = Callable[[str], Labels]


@dataclass(frozen=True, slots=True)
class _Count:
    """How many Pods of some kind are in each domain."""

    totals: Totals
    contribute: Contribute

    def revised(self, before: NodeInfo, after: NodeInfo) -> _Count:
        return replace(self, totals=moved(self.totals, self.contribute, before, after))


@dataclass(frozen=True, slots=True)
class _Check:
    """The check of one node for one Pod."""

    near: tuple[tuple[str, _Count], ...]  # required, by topology key
    far: tuple[tuple[str, _Count], ...]
    there: _Count  # Pods that do not want this one in their domain; by key and value
    wants_itself: bool  # then the first of its group may go anywhere
    is_first: bool

    def __call__(self, node: NodeInfo, /) -> Rejection | None:
        labels = node.labels
        if self.near and not self._is_near(labels):
            return _NOT_NEAR
        for key, count in self.far:
            if key in labels and count.totals.get(labels[key], 0) > 0:
                return _NOT_FAR
        if unwanted := self.there.totals:
            for item in labels.items():
                if unwanted.get(item, 0) > 0:
                    return _NOT_WANTED
        return None

    def _is_near(self, labels: Labels) -> bool:
        found = True
        for key, count in self.near:
            if key not in labels:
                return False
            found = found and count.totals.get(labels[key], 0) > 0
        return found or self.is_first

    def revised(self, before: NodeInfo, after: NodeInfo) -> _Check:
        near = tuple((key, count.revised(before, after)) for key, count in self.near)
        far = tuple((key, count.revised(before, after)) for key, count in self.far)
        there = self.there.revised(before, after)
        return _Check(
            near, far, there, self.wants_itself, self.wants_itself and _is_nobody_there(near)
        )


class InterPodAffinity(Plugin):
    """Keeps Pods near to, and far from, those that they name, and that name them."""

    name = "InterPodAffinity"
    requeue_on = (
        Change.NODE_ADDED
        | Change.NODE_LABELS
        | Change.POD_PLACED
        | Change.POD_GONE
        | Change.POD_LABELS
        | Change.POD_UPDATED
    )

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        """Raises ValueError where an argument is wrong."""
        self._hard_weight = args.get("hardPodAffinityWeight", HARD_WEIGHT)
        if not isinstance(self._hard_weight, int) or not 0 <= self._hard_weight <= 100:
            raise ValueError("hardPodAffinityWeight: not in valid range [0-100]")
        self._ignore_theirs = bool(args.get("ignorePreferredTermsOfExistingPods"))
        self._namespaces = handle.informer(NAMESPACE)

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        own = pod.affinity
        there = self._unwanted(pod, snapshot)
        required = own.required if own else ()
        anti = own.anti_required if own else ()
        if not required and not anti and not there.totals:
            return None
        near = tuple(
            (t.topology_key, self._count(t.topology_key, required, snapshot)) for t in required
        )
        wants_itself = all(self._selects(term, pod) for term in required)
        is_first = wants_itself and _is_nobody_there(near)
        far = tuple((t.topology_key, self._count(t.topology_key, (t,), snapshot)) for t in anti)
        return _Check(near, far, there, wants_itself, is_first)

    def score(
        self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]
    ) -> Sequence[float] | None:
        wanted = [
            (
                term.topology_key,
                sign * term.weight,
                self._count(term.topology_key, (term,), snapshot),
            )
            for sign, terms in _preferences(pod)
            for term in terms
        ]
        theirs = self._wishes(pod, snapshot)
        if not wanted and not theirs:
            return None
        by_key: dict[str, dict[Hashable, float]] = {}
        for key, weight, count in wanted:
            values = by_key.setdefault(key, {})
            for value, number in count.totals.items():
                values[value] = values.get(value, 0) + weight * number
        for domain, wish in theirs.items():
            key, value = cast("tuple[str, str]", domain)
            values = by_key.setdefault(key, {})
            values[value] = values.get(value, 0) + wish
        sums = [0.0] * len(nodes)
        for key, values in by_key.items():
            found = values.get
            sums = [
                total + found(node.labels.get(key), 0)
                for total, node in zip(sums, nodes, strict=True)
            ]
        lowest, highest = min(sums), max(sums)
        if lowest == highest:
            return None
        return [SCORE_MAX * (each - lowest) / (highest - lowest) for each in sums]

    def _count(self, key: str, terms: tuple[AffinityTerm, ...], snapshot: Snapshot) -> _Count:
        """By value of the label `key`: Pods that all of `terms` select."""
        resolved = tuple(self._resolved(term) for term in terms)

        def contribute(node: NodeInfo) -> Contribution:
            domain = node.labels.get(key)
            if domain is None:
                return ()
            number = sum(
                all(term.selects(pod.namespace, pod.labels, {}) for term in resolved)
                for pod in node.pods.values()
            )
            return ((domain, number),) if number else ()

        signature: Hashable = (self.name, key, tuple(term.signature for term in resolved))
        return _Count(snapshot.totals(signature, contribute), contribute)

    def _unwanted(self, pod: PodInfo, snapshot: Snapshot) -> _Count:
        """By label and value: Pods there that require to be apart from `pod`."""
        about = (pod.namespace, pod.labels, self._labels_of_namespace(pod.namespace))

        def contribute(node: NodeInfo) -> Iterator[tuple[Hashable, float]]:
            for other in node.affine.values():
                for term in other.affinity.anti_required if other.affinity else ():
                    if term.topology_key in node.labels and term.selects(*about):
                        yield (term.topology_key, node.labels[term.topology_key]), 1

        if not _anybody_cares(snapshot):
            return _Count({}, contribute)
        return _Count(snapshot.totals(self._key("unwanted", pod), contribute), contribute)

    def _wishes(self, pod: PodInfo, snapshot: Snapshot) -> Totals:
        """By label and value: how much the Pods there want `pod` near."""
        about = (pod.namespace, pod.labels, self._labels_of_namespace(pod.namespace))

        def contribute(node: NodeInfo) -> Iterator[tuple[Hashable, float]]:
            for other in node.affine.values():
                for term, weight in self._theirs(other):
                    if term.topology_key in node.labels and term.selects(*about):
                        yield (term.topology_key, node.labels[term.topology_key]), weight

        if not _anybody_cares(snapshot):
            return {}
        return snapshot.totals(self._key("wishes", pod), contribute)

    def _theirs(self, other: PodInfo) -> Iterator[tuple[AffinityTerm, float]]:
        affinity = other.affinity
        if affinity is None:
            return
        if self._hard_weight:
            yield from ((term, self._hard_weight) for term in affinity.required)
        if not self._ignore_theirs:
            for sign, terms in _preferences(other):
                yield from ((term, sign * term.weight) for term in terms)

    def _key(self, what: str, pod: PodInfo) -> Hashable:
        """Pods of one key are selected by the same terms."""
        labels = tuple(sorted(pod.labels.items()))
        where = tuple(sorted(self._labels_of_namespace(pod.namespace).items()))
        return (self.name, what, pod.namespace, labels, where)

    def _selects(self, term: AffinityTerm, pod: PodInfo) -> bool:
        labels = self._labels_of_namespace(pod.namespace)
        return term.selects(pod.namespace, pod.labels, labels)

    def _labels_of_namespace(self, name: str) -> Labels:
        namespace = self._namespaces.get(ObjectKey("", name))
        return labels_of(namespace) if namespace else {}

    def _resolved(self, term: AffinityTerm) -> AffinityTerm:
        """The term with the namespaces that its selector means now."""
        selector = term.namespace_selector
        if selector is None:
            return term
        found = {
            n["metadata"]["name"] for n in self._namespaces.list() if selector.matches(labels_of(n))
        }
        return replace(term, namespaces=term.namespaces | found, namespace_selector=None)


def _is_nobody_there(near: Sequence[tuple[str, _Count]]) -> bool:
    return not any(any(count.totals.values()) for _, count in near)


def _anybody_cares(snapshot: Snapshot) -> bool:
    """Whether any Pod on a node has affinity to others; mostly none has."""

    def contribute(node: NodeInfo) -> Contribution:
        return ((None, len(node.affine)),) if node.affine else ()

    return bool(snapshot.totals(("affine",), contribute))


def _preferences(pod: PodInfo) -> tuple[tuple[int, tuple[AffinityTerm, ...]], ...]:
    """Terms that it wants met, and those that it wants not met."""
    if pod.affinity is None:
        return ()
    return ((1, pod.affinity.preferred), (-1, pod.affinity.anti_preferred))
