"""The decision: which node a Pod goes to, or why to none. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from agents.scheduler.cluster import Snapshot
from agents.scheduler.framework import Check, Profile
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.pod_info import PodInfo

# In large clusters it is enough to compare a part of the nodes that suit (numbers are upstream's).
COMPARED_MIN = 100
COMPARED_PERCENT_MIN = 5


@dataclass(frozen=True, slots=True)
class Decision:
    """What came out for one Pod: a node, or the reasons against each."""

    node_name: str  # empty: no node suits
    message: str = ""  # why none suits, in upstream's words
    rejected_by: frozenset[str] = frozenset()  # names of the filter plugins
    feasible_count: int = 0
    evaluated_count: int = 0  # where to begin next time, so that all nodes get their turn


class _Found(NamedTuple):
    feasible: list[NodeInfo]
    reasons: Counter[str]
    rejected_by: frozenset[str]
    evaluated_count: int


def schedule(
    profile: Profile, snapshot: Snapshot, pod: PodInfo, *, rng: Random, start: int = 0
) -> Decision:
    """Choose a node for `pod`.

    Args:
        rng: decides between nodes that are equally good.
        start: index of the node to begin with, modulo their number.
    """
    if not snapshot.nodes:
        return Decision("", "no nodes available to schedule pods")
    found = _find_feasible(profile, snapshot, pod, start)
    if not found.feasible:
        message = unavailable_message(len(snapshot.nodes), found.reasons)
        return Decision("", message, found.rejected_by, 0, found.evaluated_count)
    best = _best(profile, snapshot, pod, found.feasible, rng)
    return Decision(
        best.name,
        feasible_count=len(found.feasible),
        evaluated_count=found.evaluated_count,
    )


def unavailable_message(node_count: int, reasons: Mapping[str, int]) -> str:
    """The message of a Pod that stays Pending, as upstream words and sorts it."""
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{node_count} nodes are available: {listed}."


def compared_count(node_count: int) -> int:
    """How many nodes that suit are enough to choose from."""
    if node_count <= COMPARED_MIN:
        return node_count
    percent = max(50 - node_count // 125, COMPARED_PERCENT_MIN)
    return max(node_count * percent // 100, COMPARED_MIN)


def prepared_checks(profile: Profile, snapshot: Snapshot, pod: PodInfo) -> list[tuple[str, Check]]:
    """The checks that concern `pod`, each with its plugin's name."""
    return [
        (plugin.name, check)
        for plugin in profile.filters
        if (check := plugin.prepare(pod, snapshot)) is not None
    ]


def _find_feasible(profile: Profile, snapshot: Snapshot, pod: PodInfo, start: int) -> _Found:
    checks = prepared_checks(profile, snapshot, pod)
    nodes = snapshot.node_list
    enough = compared_count(len(nodes))
    feasible: list[NodeInfo] = []
    reasons: Counter[str] = Counter()
    rejected_by: set[str] = set()
    evaluated = 0
    offset = start % len(nodes)
    for node in nodes[offset:] + nodes[:offset] if offset else nodes:
        evaluated += 1
        for name, check in checks:
            if rejection := check(node):
                reasons.update(rejection.reasons)
                rejected_by.add(name)
                break
        else:
            feasible.append(node)
            if len(feasible) >= enough:
                break
    return _Found(feasible, reasons, frozenset(rejected_by), evaluated)


def _best(
    profile: Profile, snapshot: Snapshot, pod: PodInfo, nodes: Sequence[NodeInfo], rng: Random
) -> NodeInfo:
    if len(nodes) == 1:
        return nodes[0]
    totals = [0.0] * len(nodes)
    for plugin, weight in profile.scores:
        scores = plugin.score(pod, snapshot, nodes)
        if scores is not None:
            totals = [total + weight * score for total, score in zip(totals, scores, strict=True)]
    highest = max(totals)
    # Sums of fractions differ in their last digits though they mean the same.
    best = [node for node, total in zip(nodes, totals, strict=True) if highest - total < 1e-6]
    return best[0] if len(best) == 1 else rng.choice(best)
