"""How many replicas what Pods use asks for. Pure.

Amounts are in thousandths: of a core, of a byte.

Source: upstream's replica calculator (which Pods count how, rounding, messages).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.object import Object
from kubraft.api.quantity import parse_quantity
from kubraft.api.time import parse_time

CPU_INITIALIZATION: Final = timedelta(minutes=5)
READINESS_DELAY: Final = timedelta(seconds=30)
TOLERANCE: Final = 0.1
# What a Pod that says nothing is taken to use at least, in percent, where replicas would go.
_FALLBACK_PERCENT: Final = 100


class CalculationError(Exception):
    """There is no answer; the message says why, in upstream's words."""


class Sample(NamedTuple):
    """What one Pod used over the window that ended at a moment."""

    at: datetime
    window: timedelta
    milli: int


class Tolerance(NamedTuple):
    """How far from the target nothing is done."""

    down: float = TOLERANCE
    up: float = TOLERANCE

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(slots=True)
class Groups:
    """Pods by how their samples count."""

    ready: int = 0
    unready: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)


class Proposal(NamedTuple):
    """How many replicas, and what was seen: an average in thousandths, and percent of requests."""

    replicas: int
    average_milli: int
    percent: int | None = None


def grouped(
    pods: Iterable[Object], samples: Mapping[str, Sample], resource: str, now: datetime
) -> Groups:
    """Which Pods count how."""
    groups = Groups()
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        phase = status.get("phase")
        if pod["metadata"].get("deletionTimestamp") or phase == "Failed":
            groups.ignored.add(name)
        elif phase == "Pending":
            groups.unready.add(name)
        elif name not in samples:
            groups.missing.add(name)
        elif resource == "cpu" and _is_starting(pod, samples[name], now):
            groups.unready.add(name)
        else:
            groups.ready += 1
    return groups


def _is_starting(pod: Object, sample: Sample, now: datetime) -> bool:
    """Whether CPU usage may be that of the start."""
    ready = find_condition(conditions_of(pod), "Ready")
    begun = (pod.get("status") or {}).get("startTime")
    if ready is None or not begun:
        return True
    started, is_unready = parse_time(begun), ready.get("status") == "False"
    changed = parse_time(ready.get("lastTransitionTime") or begun)
    if started + CPU_INITIALIZATION > now:
        return is_unready or sample.at < changed + sample.window
    return is_unready and started + READINESS_DELAY > changed


def by_utilization(
    pods: list[Object],
    samples: Mapping[str, Sample],
    *,
    resource: str,
    container: str,
    current: int,
    target_percent: int,
    tolerance: Tolerance,
    now: datetime,
) -> Proposal:
    """Replicas that bring usage to a part of what Pods request.

    Args:
        container: the one that counts; all where it is empty.
        current: how many there should be now.

    Raises:
        CalculationError: it cannot be said.
    """
    groups, amounts = _counting(pods, samples, resource, now)
    requests = {pod["metadata"]["name"]: _request(pod, resource, container) for pod in pods}

    def ratio(milli: Mapping[str, int]) -> tuple[float, int, int]:
        known = [name for name in milli if name in requests]
        wanted = sum(requests[name] for name in known)
        if not wanted:
            raise CalculationError("no metrics returned matched known pods")
        used = sum(milli[name] for name in known)
        percent = used * 100 // wanted
        return percent / target_percent, percent, used // len(known)

    seen, percent, average = ratio(amounts)
    fallback = max(_FALLBACK_PERCENT, target_percent)
    absent = {name: requests[name] * fallback // 100 for name in groups.missing}
    replicas = _replicas(
        amounts,
        groups,
        current,
        seen,
        absent=absent,
        ratio=lambda milli: ratio(milli)[0],
        tolerance=tolerance,
    )
    return Proposal(replicas, average, percent)


def by_average(
    pods: list[Object],
    samples: Mapping[str, Sample],
    *,
    resource: str,
    current: int,
    target_milli: int,
    tolerance: Tolerance,
    now: datetime,
) -> Proposal:
    """Replicas that bring the average usage of a Pod to an amount. Raises CalculationError."""
    groups, amounts = _counting(pods, samples, resource, now)

    def ratio(milli: Mapping[str, int]) -> float:
        return sum(milli.values()) // len(milli) / target_milli

    average = sum(amounts.values()) // len(amounts)
    absent = dict.fromkeys(groups.missing, target_milli)
    seen = ratio(amounts)
    replicas = _replicas(
        amounts, groups, current, seen, absent=absent, ratio=ratio, tolerance=tolerance
    )
    return Proposal(replicas, average)


def _counting(
    pods: list[Object], samples: Mapping[str, Sample], resource: str, now: datetime
) -> tuple[Groups, dict[str, int]]:
    """The groups, and the amounts of those Pods that count."""
    if not pods:
        raise CalculationError("no pods returned by selector while calculating replica count")
    groups = grouped(pods, samples, resource, now)
    left_out = groups.ignored | groups.unready
    amounts = {name: each.milli for name, each in samples.items() if name not in left_out}
    if not amounts:
        raise CalculationError("did not receive metrics for targeted pods (pods might be unready)")
    return groups, amounts


def _replicas(
    amounts: dict[str, int],
    groups: Groups,
    current: int,
    seen: float,
    *,
    absent: Mapping[str, int],
    ratio: Callable[[Mapping[str, int]], float],
    tolerance: Tolerance,
) -> int:
    """Replicas from the ratio of what is used to what should be."""
    counts_unready = bool(groups.unready) and seen > 1.0
    if not counts_unready and not groups.missing:
        return current if tolerance.covers(seen) else math.ceil(seen * groups.ready)
    whole = dict(amounts)
    if groups.missing and seen < 1.0:
        whole |= absent
    elif groups.missing and seen > 1.0:
        whole |= dict.fromkeys(groups.missing, 0)
    if counts_unready:
        whole |= dict.fromkeys(groups.unready, 0)
    fresh = ratio(whole)
    if tolerance.covers(fresh) or (seen < 1.0 < fresh) or (fresh < 1.0 < seen):
        return current
    wanted = math.ceil(fresh * len(whole))
    # What is not known may weaken a change, and never turns it round.
    if (fresh < 1.0 and wanted > current) or (fresh > 1.0 and wanted < current):
        return current
    return wanted


def _request(pod: Object, resource: str, container: str) -> int:
    """What a Pod requests; raises CalculationError where a container says nothing."""
    spec = pod.get("spec") or {}
    lasting = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    total = 0
    for each in (*(spec.get("containers") or ()), *lasting):
        if container and each.get("name") != container:
            continue
        amount = ((each.get("resources") or {}).get("requests") or {}).get(resource)
        if amount is None:
            name = pod["metadata"]["name"]
            text = f"missing request for {resource} in container {each.get('name')} of Pod {name}"
            raise CalculationError(text)
        total += parse_quantity(amount).milli_value()
    return total
