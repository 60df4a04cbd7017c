"""Topology spread: Pods of one kind apart from each other, so that one failure takes few of them.

Constraints that the Pod names are kept (DoNotSchedule) or aimed at (ScheduleAnyway). A Pod with an
owner and without constraints is spread over hosts and zones all the same, best effort.

Source: Kubernetes documentation, "Pod Topology Spread Constraints" (the skew, the policies and the
default constraints); kube-scheduler's PodTopologySpread (weights by number of domains).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from agents.scheduler.cluster import HOSTNAME_LABEL, ZONE_LABEL, Snapshot
from agents.scheduler.framework import NODE_CHANGES, SCORE_MAX, Change, Check, Plugin, Rejection
from agents.scheduler.node_info import NodeInfo, remembered
from agents.scheduler.plugins.placement import NodePredicate, required_nodes
from agents.scheduler.plugins.taints import untolerated
from agents.scheduler.pod_info import PodInfo
from kubraft.api.labels import (
    NOTHING,
    LabelSelector,
    Operator,
    Requirement,
    selector_from_object,
)
from kubraft.api.object import is_terminating

_SKEWED = Rejection(("node(s) didn't match pod topology spread constraints",))
_NO_LABEL = Rejection(
    ("node(s) didn't match pod topology spread constraints (missing required label)",),
    resolvable=False,
)


@dataclass(frozen=True, slots=True)
class _Constraint:
    """One spread constraint, read for one Pod."""

    topology_key: str
    max_skew: int
    min_domains: int
    counts: Callable[[Sequence[NodeInfo]], list[float]]  # the Pods on each that it is about
    matches_self: bool
    eligible: NodePredicate | None  # nodes whose domains and Pods it is about

    def domain(self, node: NodeInfo) -> str | None:
        return node.labels.get(self.topology_key)


class PodTopologySpread(Plugin):
    """Keeps, or aims at, an even number of matching Pods in each domain."""

    name = "PodTopologySpread"
    requeue_on = (
        NODE_CHANGES | Change.POD_PLACED | Change.POD_GONE | Change.POD_LABELS | Change.POD_UPDATED
    )

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        constraints = _constraints(pod, "DoNotSchedule")
        if not constraints:
            return None
        nodes = snapshot.node_list
        for constraint in constraints:
            nodes = [node for node in nodes if constraint.topology_key in node.labels]
        totals = [_by_domain(constraint, nodes) for constraint in constraints]
        prepared = [(c, t, _smallest(c, t)) for c, t in zip(constraints, totals, strict=True)]

        def check(node: NodeInfo) -> Rejection | None:
            for constraint, by_domain, smallest in prepared:
                domain = constraint.domain(node)
                if domain is None:
                    return _NO_LABEL
                count = by_domain.get(domain, 0) + constraint.matches_self
                if count - smallest > constraint.max_skew:
                    return _SKEWED
            return None

        return check

    def may_help(self, pod: PodInfo, node: NodeInfo) -> bool:
        return True  # any change of any domain moves the skew of all

    def score(
        self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]
    ) -> Sequence[float] | None:
        constraints = _constraints(pod, "ScheduleAnyway")
        if not constraints:
            if pod.spec.get("topologySpreadConstraints") or not pod.owner_uid:
                return None
            constraints = _default_constraints(pod)
        costs = [0.0] * len(nodes)
        for constraint in constraints:
            _add_costs(costs, constraint, snapshot, nodes)
        given = bool(pod.spec.get("topologySpreadConstraints"))
        ignored = [given and not _has_keys(node, constraints) for node in nodes]
        counted = [cost for cost, skip in zip(costs, ignored, strict=True) if not skip]
        return _normalized(costs, ignored, counted) if counted else None


def _normalized(costs: list[float], ignored: list[bool], counted: list[float]) -> list[float]:
    """Costs turned into scores: the cheapest 100; nodes outside of all domains 0."""
    highest, lowest = max(counted), min(counted)
    return [
        0.0 if skip else SCORE_MAX * (highest + lowest - cost) / highest if highest else SCORE_MAX
        for cost, skip in zip(costs, ignored, strict=True)
    ]


def _add_costs(
    costs: list[float], constraint: _Constraint, snapshot: Snapshot, nodes: Sequence[NodeInfo]
) -> None:
    """Add what each node costs by one constraint: its domain's Pods, times a weight."""
    if constraint.topology_key == HOSTNAME_LABEL:
        # A host is its own domain: no need to add up the whole cluster.
        weight = log(len(nodes) + 2)
        for index, count in enumerate(constraint.counts(nodes)):
            costs[index] += count * weight + constraint.max_skew - 1
        return
    domains = {constraint.domain(node) for node in nodes} - {None}
    if not domains:
        return
    weight = log(len(domains) + 2)
    by_domain = _by_domain(constraint, snapshot.node_list)
    for index, node in enumerate(nodes):
        domain = constraint.domain(node)
        if domain is not None:
            costs[index] += by_domain.get(domain, 0) * weight + constraint.max_skew - 1


def _constraints(pod: PodInfo, action: str) -> list[_Constraint]:
    given = pod.spec.get("topologySpreadConstraints") or ()
    return [_read(pod, c) for c in given if c.get("whenUnsatisfiable", "DoNotSchedule") == action]


def _read(pod: PodInfo, given: Mapping[str, Any]) -> _Constraint:
    selector = _selector(pod, given)
    return _Constraint(
        topology_key=given["topologyKey"],
        max_skew=given["maxSkew"],
        min_domains=given.get("minDomains") or 1,
        counts=_counter(pod.namespace, selector),
        matches_self=selector.matches(pod.labels),
        eligible=_eligible(pod, given),
    )


def _default_constraints(pod: PodInfo) -> list[_Constraint]:
    """Over hosts and zones, among Pods of the same owner."""
    uid = pod.owner_uid

    def counts(nodes: Sequence[NodeInfo]) -> list[float]:
        return [node.owners.get(uid, 0) for node in nodes]

    return [
        _Constraint(HOSTNAME_LABEL, 3, 1, counts, True, None),
        _Constraint(ZONE_LABEL, 5, 1, counts, True, None),
    ]


def _selector(pod: PodInfo, given: Mapping[str, Any]) -> LabelSelector:
    try:
        selector = selector_from_object(given.get("labelSelector"))
    except ValueError:
        return NOTHING
    same = [
        Requirement(key, Operator.IN, [pod.labels[key]])
        for key in given.get("matchLabelKeys") or ()
        if key in pod.labels
    ]
    if not same or selector == NOTHING:
        return selector
    return LabelSelector([*selector.requirements, *same])


def _counter(
    namespace: str, selector: LabelSelector
) -> Callable[[Sequence[NodeInfo]], list[float]]:
    """How many Pods on each node match."""
    key = (namespace, str(selector), selector == NOTHING)

    def count(node: NodeInfo) -> float:
        return sum(
            pod.namespace == namespace
            and selector.matches(pod.labels)
            and not is_terminating(pod.obj)
            for pod in node.pods.values()
        )

    return lambda nodes: remembered(nodes, key, count)


def _eligible(pod: PodInfo, given: Mapping[str, Any]) -> NodePredicate | None:
    allows = required_nodes(pod) if given.get("nodeAffinityPolicy", "Honor") == "Honor" else None
    taints_too = given.get("nodeTaintsPolicy", "Ignore") == "Honor"
    if allows is None and not taints_too:
        return None

    def eligible(node: NodeInfo) -> bool:
        if allows is not None and not allows(node):
            return False
        effects = ("NoSchedule", "NoExecute")
        return not taints_too or untolerated(node.taints, pod.tolerations, effects) is None

    return eligible


def _has_keys(node: NodeInfo, constraints: Sequence[_Constraint]) -> bool:
    return all(constraint.topology_key in node.labels for constraint in constraints)


def _by_domain(constraint: _Constraint, nodes: Sequence[NodeInfo]) -> dict[str, float]:
    """Matching Pods by domain; a domain without any is there with 0."""
    totals: dict[str, float] = {}
    key = constraint.topology_key
    if constraint.eligible is not None:
        nodes = [node for node in nodes if constraint.eligible(node)]
    for node, count in zip(nodes, constraint.counts(nodes), strict=True):
        domain = node.labels.get(key)
        if domain is not None:
            totals[domain] = totals.get(domain, 0) + count
    return totals


def _smallest(constraint: _Constraint, totals: Mapping[str, float]) -> float:
    """What the skew is measured from; 0 while there are fewer domains than there should be."""
    if not totals or len(totals) < constraint.min_domains:
        return 0
    return min(totals.values())
