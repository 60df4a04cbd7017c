"""The decision: which node a Pod goes to, or why to none. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from agents.scheduler.cluster import Snapshot
from agents.scheduler.framework import Attempt, Check, Only, Rejection, revised
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.profile import Profile

# In large clusters it is enough to compare a part of the nodes that suit (numbers are upstream's).
COMPARED_MIN = 100
COMPARED_PERCENT_MIN = 5

Checks = list[tuple[str, Check]]


@dataclass(frozen=True, slots=True)
class Decision:
    """What came out for one Pod: a node, or the reasons against each."""

    node_name: str  # empty: no node suits
    message: str = ""  # why none suits, in upstream's words
    rejected_by: frozenset[str] = frozenset()  # names of the filter plugins
    feasible_count: int = 0
    evaluated_count: int = 0  # where to begin next time, so that all nodes get their turn
    nominated: str = ""  # the node that it may have once `victims` have left
    victims: tuple[PodInfo, ...] = ()
    keeps_nomination: bool = False  # an earlier one, whose victims are still leaving


@dataclass(slots=True)
class _Search:
    """What was found out about the nodes, one by one."""

    checks: Checks
    start: int = 0  # index of the node to begin with
    feasible: list[NodeInfo] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)  # of the scores of `feasible` so far
    reasons: Counter[str] = field(default_factory=Counter)
    rejected_by: set[str] = field(default_factory=set)
    resolvable: list[str] = field(default_factory=list)
    evaluated_count: int = 0

    def reject(self, plugin: str, rejection: Rejection, names: Iterable[str]) -> None:
        """Note the same rejection of some nodes."""
        for name in names:
            self.reasons.update(rejection.reasons)
            if rejection.resolvable:
                self.resolvable.append(name)
        self.rejected_by.add(plugin)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The checks that concern one Pod, and the nodes that come into question."""

    checks: Checks
    # Of `checks` the first, whose answers each node remembers under `mark`: why it does not suit
    # the Pod, or else the sum of what the plugins that look at one node at a time score it.
    alone_count: int = 0
    mark: object = None
    names: frozenset[str] | None = None  # None: all
    limited_by: tuple[str, ...] = ()  # the plugins that named them
    refused: tuple[str, Rejection] | None = None  # by a plugin, wherever it might go


def schedule(
    profile: Profile, snapshot: Snapshot, pod: PodInfo, *, rng: Random, start: int = 0
) -> Decision:
    """Choose a node for `pod`, or Pods whose eviction would make room for it.

    Args:
        rng: decides between nodes that are equally good.
        start: index of the node to begin with, modulo their number.
    """
    if not snapshot.nodes:
        return Decision("", "no nodes available to schedule pods")
    prepared = prepare(profile, snapshot, pod)
    search = _Search(prepared.checks, start)
    if prepared.refused:
        plugin, rejection = prepared.refused
        search.reject(plugin, rejection._replace(resolvable=False), snapshot.nodes)
        listed = ", ".join(rejection.reasons)
    else:
        _find_feasible(profile, snapshot, pod, prepared, search)
        if search.feasible:
            best = _best(profile, snapshot, pod, search, rng)
            return Decision(
                best.name,
                feasible_count=len(search.feasible),
                evaluated_count=search.evaluated_count,
            )
        listed = _listed(search.reasons)
    message = f"0/{len(snapshot.nodes)} nodes are available: {listed}."
    return _remedied(profile, snapshot, pod, search, message)


def unavailable_message(node_count: int, reasons: Mapping[str, int]) -> str:
    """The message of a Pod that stays Pending, as upstream words and sorts it."""
    return f"0/{node_count} nodes are available: {_listed(reasons)}."


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))


def compared_count(node_count: int, percent: int = 0) -> int:
    """How many nodes that suit are enough to choose from; `percent` 0: fewer the more there are."""
    if node_count <= COMPARED_MIN or percent >= 100:
        return node_count
    percent = percent or max(50 - node_count // 125, COMPARED_PERCENT_MIN)
    return max(node_count * percent // 100, COMPARED_MIN)


def prepare(profile: Profile, snapshot: Snapshot, pod: PodInfo) -> _Prepared:
    """Ask each filter plugin what it has to say about `pod`."""
    checks: Checks = []
    names: frozenset[str] | None = None
    limited_by: list[str] = []
    signatures: list[Hashable] = []
    for plugin in profile.filters:
        answer = plugin.pre_filter(pod, snapshot)
        if answer is None:
            continue
        if isinstance(answer, Rejection):
            return _Prepared(checks, refused=(plugin.name, answer))
        if isinstance(answer, Only):
            names = answer.names if names is None else names & answer.names
            limited_by.append(plugin.name)
            answer = answer.check
        if answer is None:
            continue
        if len(signatures) == len(checks) and (signature := plugin.signature(pod)) is not None:
            signatures.append((plugin, signature))
        checks.append((plugin.name, answer))
    scored = [(w, w.plugin.signature(pod)) for w in profile.alone_scores]
    mark = profile.mark((len(signatures), *signatures, *scored))
    if any(signature is None for _, signature in scored):
        mark = object()  # not to be found again
    return _Prepared(checks, len(signatures), mark, names, tuple(limited_by))


def first_rejection(checks: Checks, node: NodeInfo) -> tuple[str, Rejection] | None:
    """The first plugin against the node, with its reasons."""
    for name, check in checks:
        if rejection := check(node):
            return name, rejection
    return None


def rejection_with_nominated(
    checks: Checks, snapshot: Snapshot, pod: PodInfo, node: NodeInfo
) -> tuple[str, Rejection] | None:
    """As `first_rejection`, also with the Pods that are to come to the node before `pod`.

    It must suit both with and without them, for they may go elsewhere in the end.
    """
    first = [
        other
        for other in snapshot.nominated.get(node.name, ())
        if other.priority >= pod.priority and other.key != pod.key
    ]
    if first:
        fuller = node
        for other in first:
            fuller = fuller.with_pod(replace(other, node_name=node.name))
        changed = [(name, revised(check, node, fuller)) for name, check in checks]
        if found := first_rejection(changed, fuller):
            return found
    return first_rejection(checks, node)


def _find_feasible(
    profile: Profile,
    snapshot: Snapshot,
    pod: PodInfo,
    prepared: _Prepared,
    search: _Search,
) -> None:
    nodes = _candidates(snapshot, prepared, search)
    own = snapshot.nodes.get(_nomination(snapshot, pod))
    checks, nominated = prepared.checks, snapshot.nominated
    if (
        own is not None
        and own in nodes
        and not rejection_with_nominated(checks, snapshot, pod, own)
    ):
        # Others were evicted there for this Pod.
        search.feasible.append(own)
        search.totals.append(0.0)
        return
    enough = compared_count(len(nodes), profile.percentage_of_nodes_to_score)
    offset = search.start % len(nodes) if nodes else 0
    alone, rest = checks[: prepared.alone_count], checks[prepared.alone_count :]
    feasible, totals, mark = search.feasible, search.totals, prepared.mark
    for count, node in enumerate([*nodes[offset:], *nodes[:offset]] if offset else nodes, 1):
        known = node.memo.get(mark)
        if known is None:
            known = node.remember(mark, _alone(profile, pod, node, alone))
        if isinstance(known, tuple):
            plugin, rejection = known
            search.reject(plugin, rejection, (node.name,))
            continue
        found = None
        for name, check in rest:
            if answer := check(node):
                found = (name, answer)
                break
        if nominated and node.name in nominated:
            found = found or rejection_with_nominated(checks, snapshot, pod, node)
        if found is not None:
            search.reject(*found, (node.name,))
            continue
        feasible.append(node)
        totals.append(known)
        if len(feasible) >= enough:
            search.evaluated_count = count
            return
    search.evaluated_count = len(nodes)


def _candidates(snapshot: Snapshot, prepared: _Prepared, search: _Search) -> Sequence[NodeInfo]:
    """The nodes in question; the others are noted as rejected."""
    if prepared.names is None:
        return snapshot.node_list
    nodes = [node for node in snapshot.node_list if node.name in prepared.names]
    plugins = " ".join(prepared.limited_by)
    reason = f"node(s) didn't satisfy plugin(s) [{plugins}]"
    search.reasons[reason] = len(snapshot.nodes) - len(nodes)
    search.reasons = +search.reasons
    search.rejected_by.update(prepared.limited_by)
    return nodes


def _nomination(snapshot: Snapshot, pod: PodInfo) -> str:
    """The node that `pod` is nominated for, or ""."""
    for node_name, pods in snapshot.nominated.items():
        if any(other.key == pod.key for other in pods):
            return node_name
    return ""


def _remedied(
    profile: Profile, snapshot: Snapshot, pod: PodInfo, search: _Search, message: str
) -> Decision:
    """The decision for a Pod that no node suits, after the post-filter plugins had their say."""
    failed = Decision(
        "", message, frozenset(search.rejected_by), evaluated_count=search.evaluated_count
    )
    attempt = Attempt(profile, snapshot, search.checks, search.resolvable)
    for plugin in profile.post_filters:
        remedy = plugin.post_filter(pod, attempt)
        if remedy is None:
            continue
        if remedy.node_name:
            return replace(failed, nominated=remedy.node_name, victims=remedy.victims)
        failed = replace(
            failed,
            message=f"{failed.message} {remedy.message}".rstrip(),
            keeps_nomination=failed.keeps_nomination or remedy.keeps_nomination,
        )
    return failed


def _best(
    profile: Profile, snapshot: Snapshot, pod: PodInfo, search: _Search, rng: Random
) -> NodeInfo:
    nodes, totals = search.feasible, search.totals
    if len(nodes) == 1:
        return nodes[0]
    for plugin, weight in profile.compared_scores:
        scores = plugin.score(pod, snapshot, nodes)
        if scores is not None:
            totals = [total + weight * score for total, score in zip(totals, scores, strict=True)]
    highest = max(totals)
    # Sums of fractions differ in their last digits though they mean the same.
    best = [node for node, total in zip(nodes, totals, strict=True) if highest - total < 1e-6]
    return best[0] if len(best) == 1 else rng.choice(best)


def _alone(
    profile: Profile, pod: PodInfo, node: NodeInfo, checks: Checks
) -> tuple[str, Rejection] | float:
    """Why the node does not suit the Pod, or what those make of it that look at it alone."""
    return first_rejection(checks, node) or sum(
        (weight * plugin.score_node(pod, node) for plugin, weight in profile.alone_scores), 0.0
    )
