"""Topology spread: Pods of one kind apart from each other, so that one failure takes few of them.

Constraints that the Pod names are kept (DoNotSchedule) or aimed at (ScheduleAnyway). A Pod with an
owner and without constraints is spread over hosts and zones all the same, best effort.

Source: Kubernetes documentation, "Pod Topology Spread Constraints" (the skew, the policies and the
default constraints); kube-scheduler's PodTopologySpread (weights by number of domains).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from agents.scheduler.cluster import HOSTNAME_LABEL, ZONE_LABEL, Snapshot
from agents.scheduler.framework import NODE_CHANGES, SCORE_MAX, Change, Check, Plugin, Rejection
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.plugins.placement import NodePredicate, required_nodes
from agents.scheduler.plugins.taints import untolerated
from agents.scheduler.pod_affinity import merged_selector
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.tally import Contribute, Contribution, Totals, moved
from kubraft.api.labels import NOTHING, LabelSelector
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
    signature: Hashable  # the same for the same counts
    count: Callable[[NodeInfo], float]  # the Pods on it that it is about
    matches_self: bool
    eligible: NodePredicate | None  # nodes whose domains and Pods it is about


@dataclass(frozen=True, slots=True)
class _Skew:
    """One constraint with the Pods in each domain now."""

    constraint: _Constraint
    contribute: Contribute
    totals: Totals
    full: frozenset[Hashable]  # domains that one more would skew too much
    is_new_full: bool  # the same of a domain that is not among them

    def revised(self, before: NodeInfo, after: NodeInfo) -> _Skew:
        totals = moved(self.totals, self.contribute, before, after)
        return _skew_of(self.constraint, self.contribute, totals)


@dataclass(frozen=True, slots=True)
class _Check:
    """The check of one node for one Pod."""

    skews: tuple[_Skew, ...]

    def __call__(self, node: NodeInfo, /) -> Rejection | None:
        labels = node.labels
        for skew in self.skews:
            domain = labels.get(skew.constraint.topology_key)
            if domain is None:
                return _NO_LABEL
            if domain in skew.full or (skew.is_new_full and domain not in skew.totals):
                return _SKEWED
        return None

    def revised(self, before: NodeInfo, after: NodeInfo) -> _Check:
        return _Check(tuple(skew.revised(before, after) for skew in self.skews))


class PodTopologySpread(Plugin):
    """Keeps, or aims at, an even number of matching Pods in each domain."""

    name = "PodTopologySpread"
    requeue_on = (
        NODE_CHANGES | Change.POD_PLACED | Change.POD_GONE | Change.POD_LABELS | Change.POD_UPDATED
    )

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        """Raises ValueError where an argument is wrong."""
        self._defaults = default_constraints(args or {})

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | None:
        constraints = self._constraints(pod, "DoNotSchedule")
        if not constraints:
            return None
        keys = tuple(constraint.topology_key for constraint in constraints)
        return _Check(tuple(_skew(each, keys, snapshot) for each in constraints))

    def score(
        self, pod: PodInfo, snapshot: Snapshot, nodes: Sequence[NodeInfo]
    ) -> Sequence[float] | None:
        constraints = self._constraints(pod, "ScheduleAnyway")
        if not constraints:
            return None
        given = bool(pod.spec.get("topologySpreadConstraints"))
        keys = tuple(constraint.topology_key for constraint in constraints) if given else ()
        costs = [0.0] * len(nodes)
        for constraint in constraints:
            costs = _with_costs(costs, constraint, keys, snapshot, nodes)
        if not given or all(_has_keys(node, constraints) for node in nodes):
            return _normalized(costs)
        return _normalized_among(costs, [_has_keys(node, constraints) for node in nodes])

    def _constraints(self, pod: PodInfo, action: str) -> list[_Constraint]:
        given = pod.spec.get("topologySpreadConstraints")
        if given:
            return [_read(pod, c) for c in given if _action(c) == action]
        if not pod.owner_uid:
            return []
        return [_among_siblings(pod, c) for c in self._defaults if _action(c) == action]


def _normalized(costs: Sequence[float]) -> list[float] | None:
    """Costs turned into scores, the cheapest highest; None where all are the same."""
    highest, lowest = max(costs), min(costs)
    if highest == lowest:
        return None
    total, factor = highest + lowest, SCORE_MAX / highest
    return [factor * (total - cost) for cost in costs]


def _normalized_among(costs: Sequence[float], inside: Sequence[bool]) -> list[float] | None:
    """The same, where nodes outside of all domains get 0."""
    counted = [cost for cost, is_inside in zip(costs, inside, strict=True) if is_inside]
    if not counted:
        return None
    scores = iter(_normalized(counted) or [float(SCORE_MAX)] * len(counted))
    return [next(scores) if is_inside else 0.0 for is_inside in inside]


def _with_costs(
    costs: list[float],
    constraint: _Constraint,
    keys: tuple[str, ...],
    snapshot: Snapshot,
    nodes: Sequence[NodeInfo],
) -> list[float]:
    """Add what each node costs by one constraint: its domain's Pods, times a weight."""
    more = constraint.max_skew - 1
    key = constraint.topology_key
    if key == HOSTNAME_LABEL:
        # A host is its own domain, and few have any of the Pods.
        there = snapshot.totals((constraint.signature, "hosts"), _hosts(constraint))
        if not there:
            return costs  # the same for all
        weight = log(len(nodes) + 2)
        found = there.get
        return [
            cost + found(node.name, 0) * weight + more
            for cost, node in zip(costs, nodes, strict=True)
        ]
    domains = [node.labels.get(key) for node in nodes]
    values = set(domains)
    values.discard(None)
    if not values:
        return costs
    weight = log(len(values) + 2)
    among = _contribution(constraint, keys, empty_too=False)
    totals = snapshot.totals((constraint.signature, keys, "found"), among)
    cost_of: dict[str | None, float] = {d: totals.get(d, 0) * weight + more for d in values}
    cost_of[None] = 0.0
    return [cost + cost_of[domain] for cost, domain in zip(costs, domains, strict=True)]


def _action(given: Mapping[str, Any]) -> str:
    action: str = given.get("whenUnsatisfiable", "DoNotSchedule")
    return action


def _read(pod: PodInfo, given: Mapping[str, Any]) -> _Constraint:
    selector = merged_selector(
        given.get("labelSelector"), pod.labels, given.get("matchLabelKeys") or ()
    )
    honored = given.get("nodeAffinityPolicy", "Honor"), given.get("nodeTaintsPolicy", "Ignore")
    about = (pod.namespace, str(selector), selector == NOTHING)
    return _Constraint(
        topology_key=given["topologyKey"],
        max_skew=given["maxSkew"],
        min_domains=given.get("minDomains") or 1,
        signature=(
            "spread", given["topologyKey"], about,
            pod.placement if honored[0] == "Honor" else None,
            pod.tolerations if honored[1] == "Honor" else None,
        ),
        count=_counter(pod.namespace, selector),
        matches_self=selector.matches(pod.labels),
        eligible=_eligible(pod, given),
    )  # fmt: skip


SYSTEM_DEFAULTS: Sequence[Mapping[str, Any]] = (
    {"maxSkew": 3, "topologyKey": HOSTNAME_LABEL, "whenUnsatisfiable": "ScheduleAnyway"},
    {"maxSkew": 5, "topologyKey": ZONE_LABEL, "whenUnsatisfiable": "ScheduleAnyway"},
)


def default_constraints(args: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """What Pods with an owner and without constraints are spread by.

    Raises:
        ValueError: the arguments contradict each other.
    """
    given = args.get("defaultConstraints") or ()
    kind = args.get("defaultingType", "System")
    if kind not in ("System", "List"):
        raise ValueError(f'defaultingType: Unsupported value: "{kind}"')
    if kind == "System" and given:
        raise ValueError("defaultConstraints: must be empty where defaultingType is System")
    for constraint in given:
        if constraint.get("labelSelector"):
            raise ValueError("defaultConstraints: must not define a labelSelector: it is deduced")
        if not constraint.get("topologyKey") or constraint.get("maxSkew", 0) < 1:
            raise ValueError("defaultConstraints: topologyKey and a positive maxSkew are needed")
    return given if kind == "List" else SYSTEM_DEFAULTS


def _among_siblings(pod: PodInfo, given: Mapping[str, Any]) -> _Constraint:
    """A default constraint, among Pods of the same owner."""
    uid = pod.owner_uid

    def count(node: NodeInfo) -> float:
        return node.owners.get(uid, 0)

    key: str = given["topologyKey"]
    return _Constraint(key, given["maxSkew"], 1, ("siblings", key, uid), count, True, None)


def _counter(namespace: str, selector: LabelSelector) -> Callable[[NodeInfo], float]:
    """How many Pods on a node match."""

    def count(node: NodeInfo) -> float:
        return sum(
            pod.namespace == namespace
            and selector.matches(pod.labels)
            and not is_terminating(pod.obj)
            for pod in node.pods.values()
        )

    return count


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


def _skew(constraint: _Constraint, keys: tuple[str, ...], snapshot: Snapshot) -> _Skew:
    contribute = _contribution(constraint, keys)
    totals = snapshot.totals((constraint.signature, keys), contribute)
    return _skew_of(constraint, contribute, totals)


def _skew_of(constraint: _Constraint, contribute: Contribute, totals: Totals) -> _Skew:
    most = constraint.max_skew + _smallest(constraint, totals) - constraint.matches_self
    full = frozenset(domain for domain, count in totals.items() if count > most)
    return _Skew(constraint, contribute, totals, full, most < 0)


def _contribution(
    constraint: _Constraint, keys: tuple[str, ...], *, empty_too: bool = True
) -> Contribute:
    """Matching Pods by domain, on nodes with all of `keys`; where it matters also of none."""

    def contribute(node: NodeInfo) -> Contribution:
        labels = node.labels
        domain = labels.get(constraint.topology_key)
        if domain is None or not all(key in labels for key in keys):
            return ()
        if constraint.eligible is not None and not constraint.eligible(node):
            return ()
        count = constraint.count(node)
        return ((domain, count),) if count or empty_too else ()

    return contribute


def _hosts(constraint: _Constraint) -> Contribute:
    """Matching Pods by node, of those nodes that have any."""

    def contribute(node: NodeInfo) -> Contribution:
        count = constraint.count(node)
        return ((node.name, count),) if count else ()

    return contribute


def _smallest(constraint: _Constraint, totals: Totals) -> float:
    """What the skew is measured from; 0 while there are fewer domains than there should be."""
    if not totals or len(totals) < constraint.min_domains:
        return 0
    return min(totals.values())
