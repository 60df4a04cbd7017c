"""How fast replicas may change: stabilization windows and policies. Pure.

Source: upstream's HorizontalController (order of rules, reasons, messages).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

DOWN_WINDOW_S: Final = 300.0
_WITHIN: Final = ("DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_MANY: Final = (
    "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
)
_TOO_FEW: Final = (
    "TooFewReplicas",
    "the desired replica count is less than the minimum replica count",
)
_UP_LIMIT: Final = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
)
_DOWN_LIMIT: Final = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
)
_READY: Final = ("ReadyForNewScale", "recommended size matches current size")
_UP_STABLE: Final = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_DOWN_STABLE: Final = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent "  # noqa: ISC004
    "recommendation",
)

Rules = Mapping[str, Any]


class Moment(NamedTuple):
    """A number at a time of the monotonic clock: a recommendation, or a change that was made."""

    at_s: float
    replicas: int


@dataclass(slots=True)
class History:
    """What is remembered of one autoscaler; lost with the process, as upstream."""

    recommendations: list[Moment] = field(default_factory=list)
    ups: list[Moment] = field(default_factory=list)
    downs: list[Moment] = field(default_factory=list)


class Bounds(NamedTuple):
    """Both inclusive."""

    least: int
    most: int


class Said(NamedTuple):
    """A condition: whether it holds, and why."""

    holds: bool
    reason: str
    message: str


class Normalized(NamedTuple):
    """How many replicas it may be, and the conditions AbleToScale and ScalingLimited."""

    replicas: int
    able: Said
    limited: Said


def normalize(
    behavior: Rules | None,
    history: History,
    *,
    current: int,
    desired: int,
    bounds: Bounds,
    now_s: float,
) -> Normalized:
    """What becomes of a recommendation, which is noted in `history`."""
    up: Rules = (behavior or {}).get("scaleUp") or {}
    down: Rules = (behavior or {}).get("scaleDown") or {}
    up_window_s = float(up.get("stabilizationWindowSeconds") or 0)
    asked = down.get("stabilizationWindowSeconds")
    down_window_s = DOWN_WINDOW_S if asked is None else float(asked)
    stable = _stabilized(history, current, desired, (up_window_s, down_window_s), now_s)
    history.recommendations.append(Moment(now_s, desired))
    if stable == desired:
        able = Said(True, *_READY)
    else:
        able = Said(True, *(_UP_STABLE if desired >= current else _DOWN_STABLE))
    if behavior is None:
        replicas, why = _by_default_rate(current, stable, bounds)
    else:
        replicas, why = _by_rules(
            up, down, history, current=current, desired=stable, bounds=bounds, now_s=now_s
        )
    return Normalized(replicas, able, Said(replicas != stable, *why))


def note(history: History, behavior: Rules | None, before: int, after: int, now_s: float) -> None:
    """Remember a change that was made."""
    if behavior is None or before == after:
        return
    moments = history.ups if after > before else history.downs
    longest = max((p.get("periodSeconds", 0) for p in _policies(behavior)), default=0)
    moments[:] = [each for each in moments if each.at_s > now_s - longest]
    moments.append(Moment(now_s, abs(after - before)))


def _policies(behavior: Rules) -> list[Rules]:
    both = (behavior.get(way) or {} for way in ("scaleUp", "scaleDown"))
    return [policy for rules in both for policy in rules.get("policies") or ()]


def _stabilized(
    history: History, current: int, desired: int, windows_s: tuple[float, float], now_s: float
) -> int:
    """The current number, moved no further than all recent recommendations agree on."""
    up_s, down_s = (now_s - window for window in windows_s)
    recent = history.recommendations
    lowest = min([desired, *(m.replicas for m in recent if m.at_s > up_s)])
    highest = max([desired, *(m.replicas for m in recent if m.at_s > down_s)])
    recent[:] = [each for each in recent if each.at_s >= min(up_s, down_s)]
    return min(max(current, lowest), highest)


def _by_default_rate(current: int, desired: int, bounds: Bounds) -> tuple[int, tuple[str, str]]:
    limit = max(2 * current, 4)
    most, why = (limit, _UP_LIMIT) if bounds.most > limit else (bounds.most, _TOO_MANY)
    if desired < bounds.least:
        return bounds.least, _TOO_FEW
    return (most, why) if desired > most else (desired, _WITHIN)


def _by_rules(
    up: Rules,
    down: Rules,
    history: History,
    *,
    current: int,
    desired: int,
    bounds: Bounds,
    now_s: float,
) -> tuple[int, tuple[str, str]]:
    if desired > current:
        limit = max(current, _up_limit(up, history, current, now_s))
        most, why = (limit, _UP_LIMIT) if bounds.most > limit else (bounds.most, _TOO_MANY)
        return (most, why) if desired > most else (desired, _WITHIN)
    if desired < current:
        limit = min(current, _down_limit(down, history, current, now_s))
        least, why = (limit, _DOWN_LIMIT) if bounds.least < limit else (bounds.least, _TOO_FEW)
        return (least, why) if desired < least else (desired, _WITHIN)
    return desired, _WITHIN


def _up_limit(rules: Rules, history: History, current: int, now_s: float) -> int:
    choice = rules.get("selectPolicy") or "Max"
    if choice == "Disabled":
        return current
    found = []
    for policy in rules.get("policies") or ():
        start = _start(history, current, float(policy["periodSeconds"]), now_s)
        value = int(policy["value"])
        if policy["type"] == "Pods":
            found.append(start + value)
        else:
            found.append(math.ceil(start * (1 + value / 100)))
    return _chosen(found, min if choice == "Min" else max, current)


def _down_limit(rules: Rules, history: History, current: int, now_s: float) -> int:
    choice = rules.get("selectPolicy") or "Max"
    if choice == "Disabled":
        return current
    found = []
    for policy in rules.get("policies") or ():
        start = _start(history, current, float(policy["periodSeconds"]), now_s)
        value = int(policy["value"])
        if policy["type"] == "Pods":
            found.append(start - value)
        else:
            found.append(int(start * (1 - value / 100)))
    # The least change is the highest number here.
    return _chosen(found, max if choice == "Min" else min, current)


def _chosen(found: Sequence[int], choose: Any, otherwise: int) -> int:
    return int(choose(found)) if found else otherwise


def _start(history: History, current: int, period_s: float, now_s: float) -> int:
    """How many there were when a period began."""
    return current - _sum(history.ups, period_s, now_s) + _sum(history.downs, period_s, now_s)


def _sum(moments: Iterable[Moment], period_s: float, now_s: float) -> int:
    return sum(each.replicas for each in moments if each.at_s > now_s - period_s)
