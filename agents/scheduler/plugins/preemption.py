"""Preemption: which Pods of lower priority would have to go so that a more important one fits.

Every node that could suit with Pods gone is tried on paper: all of lower priority leave, then come
back one by one, the most important and those that disruption budgets protect first, as long as the
Pod still fits. What stays away is the node's victims; the node whose victims matter least is taken.

Source: Kubernetes documentation, "Pod Priority and Preemption"; kube-scheduler's DefaultPreemption
(the order of candidates, the number of them, the messages).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from agents.scheduler.algorithm import (
    Checks,
    rejection_with_nominated,
    unavailable_message,
)
from agents.scheduler.framework import Attempt, Plugin, Rejection, Remedy, revised
from agents.scheduler.handle import Handle
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.pod_info import PodInfo
from kubraft.api.gvk import POD_DISRUPTION_BUDGET
from kubraft.api.labels import NOTHING, LabelSelector, selector_from_object
from kubraft.api.object import Object, is_terminating, labels_of

_NO_VICTIMS = Rejection(("No preemption victims found for incoming pod",), resolvable=False)
_NOT_HELPFUL = "Preemption is not helpful for scheduling"

CANDIDATES_PERCENT = 10
CANDIDATES_MIN = 100

_LATEST = "~"  # after any time: a Pod that has not started
_PRIORITY_OFFSET = 2**31  # so that no sum of priorities is made smaller by more Pods


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that would suit, and the Pods that would have to leave it, most important first."""

    node_name: str
    victims: tuple[PodInfo, ...]
    violations: int  # of disruption budgets

    def cost(self) -> tuple[Any, ...]:
        """Smallest is best. Its last part is the time by which the later start wins."""
        priorities = [victim.priority for victim in self.victims]
        return (
            self.violations,
            max(priorities),
            sum(priority + _PRIORITY_OFFSET for priority in priorities),
            len(priorities),
        )

    def started(self) -> str:
        """When the earliest of its most important victims began."""
        highest = max(victim.priority for victim in self.victims)
        return min(_started(v) for v in self.victims if v.priority == highest)


class _Budgets:
    """How many evictions disruption budgets still allow, while a set of victims is weighed."""

    def __init__(self, budgets: Iterable[Object]) -> None:
        self._budgets = [(b, _selector(b)) for b in budgets]

    def split(self, pods: Sequence[PodInfo]) -> tuple[list[PodInfo], list[PodInfo]]:
        """Those whose eviction would violate a budget, and the others; in order."""
        allowed = {id(b): _allowed(b) for b, _ in self._budgets}
        violating: list[PodInfo] = []
        others: list[PodInfo] = []
        for pod in pods:
            violates = False
            for budget, selector in self._budgets:
                if not _covers(budget, selector, pod):
                    continue
                allowed[id(budget)] -= 1
                violates = violates or allowed[id(budget)] < 0
            (violating if violates else others).append(pod)
        return violating, others


def _allowed(budget: Object) -> int:
    number: int = (budget.get("status") or {}).get("disruptionsAllowed") or 0
    return number


def _selector(budget: Object) -> LabelSelector:
    try:
        return selector_from_object((budget.get("spec") or {}).get("selector"))
    except ValueError:
        return NOTHING


def _covers(budget: Object, selector: LabelSelector, pod: PodInfo) -> bool:
    if budget["metadata"].get("namespace") != pod.namespace or not labels_of(pod.obj):
        return False
    going = (budget.get("status") or {}).get("disruptedPods") or {}
    return selector.matches(pod.labels) and pod.key.name not in going


def important_first(pod: PodInfo) -> tuple[int, str]:
    """Sorts Pods: higher priority first, then the one that runs for longer."""
    return (-pod.priority, _started(pod))


def _started(pod: PodInfo) -> str:
    return (pod.obj.get("status") or {}).get("startTime") or _LATEST


class DefaultPreemption(Plugin):
    """Makes room for a Pod by evicting those that matter less."""

    name = "DefaultPreemption"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        """Raises ValueError where an argument is wrong."""
        self._percent = args.get("minCandidateNodesPercentage", CANDIDATES_PERCENT)
        self._least = args.get("minCandidateNodesAbsolute", CANDIDATES_MIN)
        if not 0 <= self._percent <= 100:
            raise ValueError("minCandidateNodesPercentage: not in valid range [0, 100]")
        if self._least < 0 or not (self._percent or self._least):
            raise ValueError("minCandidateNodesAbsolute: both bounds must not be 0")
        self._budgets = handle.informer(POD_DISRUPTION_BUDGET)
        self._rng: Random = handle.rng

    def post_filter(self, pod: PodInfo, attempt: Attempt) -> Remedy:
        if pod.spec.get("preemptionPolicy") == "Never":
            return _refused("not eligible due to preemptionPolicy=Never.")
        if _is_leaving_under_way(pod, attempt):
            reason = "not eligible due to a terminating pod on the nominated node."
            return _refused(reason, keeps_nomination=True)
        candidates, rejections = self._candidates(pod, attempt)
        if candidates:
            best = _best(candidates)
            return Remedy(best.node_name, best.victims)
        reasons = Counter(reason for each in rejections for reason in each.reasons)
        total = len(attempt.snapshot.nodes)
        if rest := total - len(rejections):
            reasons[_NOT_HELPFUL] += rest
        return _refused(unavailable_message(total, reasons))

    def _candidates(
        self, pod: PodInfo, attempt: Attempt
    ) -> tuple[list[Candidate], list[Rejection]]:
        names = attempt.resolvable
        enough = max(len(names) * self._percent // 100, self._least)
        offset = self._rng.randrange(len(names)) if names else 0
        budgets = _Budgets(self._budgets.list())
        found: list[Candidate] = []
        rejections: list[Rejection] = []
        unviolated = False
        for name in (*names[offset:], *names[:offset]):
            answer = dry_run(pod, attempt, attempt.snapshot.nodes[name], budgets)
            if isinstance(answer, Rejection):
                rejections.append(answer)
                continue
            found.append(answer)
            unviolated = unviolated or not answer.violations
            if unviolated and len(found) >= enough:
                break
        return found, rejections


def dry_run(
    pod: PodInfo, attempt: Attempt, node: NodeInfo, budgets: _Budgets
) -> Candidate | Rejection:
    """Who would have to leave the node for `pod`, or why nobody's leaving would help."""
    if node.lowest_priority >= pod.priority:
        return _NO_VICTIMS
    lower = sorted(
        (each for each in node.pods.values() if each.priority < pod.priority), key=important_first
    )
    emptier = node
    for each in lower:
        emptier = emptier.without_pod(each.key)
    if rejected := _rejection(attempt, pod, node, emptier):
        return rejected
    violating, others = budgets.split(lower)
    victims: list[PodInfo] = []
    violations = 0
    for group in (violating, others):
        for each in group:
            fuller = emptier.with_pod(each)
            if _rejection(attempt, pod, node, fuller) is None:
                emptier = fuller
                continue
            victims.append(each)
            violations += group is violating
    return Candidate(node.name, tuple(sorted(victims, key=important_first)), violations)


def _rejection(
    attempt: Attempt, pod: PodInfo, before: NodeInfo, after: NodeInfo
) -> Rejection | None:
    checks: Checks = [(name, revised(check, before, after)) for name, check in attempt.checks]
    found = rejection_with_nominated(checks, attempt.snapshot, pod, after)
    return found[1] if found else None


def _best(candidates: Sequence[Candidate]) -> Candidate:
    cheapest = min(candidate.cost() for candidate in candidates)
    equals = [candidate for candidate in candidates if candidate.cost() == cheapest]
    return max(equals, key=Candidate.started)


def _is_leaving_under_way(pod: PodInfo, attempt: Attempt) -> bool:
    """Whether Pods are leaving the node that was nominated for `pod`: wait for these first."""
    for name, nominated in attempt.snapshot.nominated.items():
        if name in attempt.resolvable and any(each.key == pod.key for each in nominated):
            node = attempt.snapshot.nodes[name]
            return any(
                is_terminating(each.obj) and each.priority < pod.priority
                for each in node.pods.values()
            )
    return False


def _refused(reason: str, *, keeps_nomination: bool = False) -> Remedy:
    return Remedy(message=f"preemption: {reason}", keeps_nomination=keeps_nomination)
