"""What a Pod says about other Pods near which it wants to be, or not to be; read once.

Source: Kubernetes documentation, "Inter-pod affinity and anti-affinity".
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubraft.api.labels import (
    NOTHING,
    LabelSelector,
    Operator,
    Requirement,
    selector_from_object,
)

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """Some Pods, in the same domain of a topology."""

    topology_key: str
    selector: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None  # adds namespaces by their labels
    weight: int  # of a preference; 0 for what is required

    @property
    def signature(self) -> Hashable:
        """Equal for terms that select the same Pods, given the same namespaces."""
        return (
            self.topology_key, str(self.selector), self.selector == NOTHING, self.namespaces,
            None if self.namespace_selector is None else str(self.namespace_selector),
        )  # fmt: skip

    def selects(self, namespace: str, labels: Labels, namespace_labels: Labels) -> bool:
        """Whether it is about a Pod with these labels in that namespace."""
        if namespace not in self.namespaces and (
            self.namespace_selector is None or not self.namespace_selector.matches(namespace_labels)
        ):
            return False
        return self.selector.matches(labels)


@dataclass(frozen=True, slots=True)
class PodAffinity:
    """All terms of one Pod."""

    required: tuple[AffinityTerm, ...]
    preferred: tuple[AffinityTerm, ...]
    anti_required: tuple[AffinityTerm, ...]
    anti_preferred: tuple[AffinityTerm, ...]


def pod_affinity(spec: Mapping[str, Any], namespace: str, labels: Labels) -> PodAffinity | None:
    """Read `spec.affinity`; None where it says nothing about other Pods."""
    affinity = spec.get("affinity") or {}
    near, far = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    found = PodAffinity(
        _required(near, namespace, labels),
        _preferred(near, namespace, labels),
        _required(far, namespace, labels),
        _preferred(far, namespace, labels),
    )
    named = (found.required, found.preferred, found.anti_required, found.anti_preferred)
    return found if any(named) else None


def merged_selector(
    given: Mapping[str, Any] | None,
    labels: Labels,
    same: Iterable[str] = (),
    different: Iterable[str] = (),
) -> LabelSelector:
    """A selector, and the Pod's own values of some labels (`matchLabelKeys` and its opposite).

    One that cannot be read selects nothing.
    """
    try:
        selector = selector_from_object(given)
    except ValueError:
        return NOTHING
    more = [Requirement(k, Operator.IN, [labels[k]]) for k in same if k in labels]
    more += [Requirement(k, Operator.NOT_IN, [labels[k]]) for k in different if k in labels]
    if not more or selector == NOTHING:
        return selector
    return LabelSelector([*selector.requirements, *more])


def _required(
    affinity: Mapping[str, Any], namespace: str, labels: Labels
) -> tuple[AffinityTerm, ...]:
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    return tuple(_term(term, namespace, labels, 0) for term in terms)


def _preferred(
    affinity: Mapping[str, Any], namespace: str, labels: Labels
) -> tuple[AffinityTerm, ...]:
    terms = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return tuple(_term(t["podAffinityTerm"], namespace, labels, t["weight"]) for t in terms)


def _term(term: Mapping[str, Any], namespace: str, labels: Labels, weight: int) -> AffinityTerm:
    by_label = term.get("namespaceSelector")
    named = term.get("namespaces") or ([namespace] if by_label is None else [])
    return AffinityTerm(
        topology_key=term["topologyKey"],
        selector=merged_selector(
            term.get("labelSelector"),
            labels,
            term.get("matchLabelKeys") or (),
            term.get("mismatchLabelKeys") or (),
        ),
        namespaces=frozenset(named),
        namespace_selector=None if by_label is None else merged_selector(by_label, {}),
        weight=weight,
    )
