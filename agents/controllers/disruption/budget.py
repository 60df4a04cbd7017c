"""What a PodDisruptionBudget's status says of the Pods that it selects.

Source: Kubernetes documentation, "Specifying a Disruption Budget for your Application"; upstream's
disruption controller (reasons, messages, the two minutes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agents.controllers.share import share_of
from kubraft.api.conditions import with_condition
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import is_pod_ready
from kubraft.api.time import parse_time

# An eviction that was allowed is over, or has failed, after so long.
DELETION_TIMEOUT = timedelta(minutes=2)
ALLOWED = "DisruptionAllowed"


@dataclass(frozen=True, slots=True)
class Reading:
    """The status to write; `late` are Pods that should be gone; look again after `wait_s`."""

    status: dict[str, Any]
    late: tuple[Object, ...] = ()
    wait_s: float | None = None


def counts_scales(budget: Object) -> bool:
    """Whether the Pods wanted by the controllers count, not those that there are."""
    spec = budget["spec"]
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def desired_healthy(budget: Object, expected: int) -> int:
    """How many of `expected` Pods must stay healthy."""
    spec = budget["spec"]
    if (most := spec.get("maxUnavailable")) is not None:
        return max(expected - share_of(most, expected), 0)
    least = spec.get("minAvailable")
    return 1 if least is None else share_of(least, expected)


def read(budget: Object, pods: Sequence[Object], expected: int, now: datetime) -> Reading:
    """The status of `budget`.

    Args:
        pods: those that it selects.
        expected: how many there should be.
    """
    disrupted, late, wait_s = _disrupted(budget, pods, now)
    healthy = sum(
        is_pod_ready(pod) and not is_terminating(pod) and pod["metadata"]["name"] not in disrupted
        for pod in pods
    )
    desired = desired_healthy(budget, expected)
    allowed = max(healthy - desired, 0) if expected > 0 else 0
    status: dict[str, Any] = {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    if disrupted:
        status["disruptedPods"] = disrupted
    reason = "SufficientPods" if allowed else "InsufficientPods"
    status["conditions"] = _conditions(budget, reason, "", now)
    return Reading(status, late, wait_s)


def failed(budget: Object, message: str, now: datetime) -> dict[str, Any]:
    """The status of a budget that could not be read: no eviction until it can."""
    old = budget.get("status") or {}
    numbers = ("currentHealthy", "desiredHealthy", "expectedPods")
    counts = {name: old.get(name, 0) for name in numbers}
    return {
        **old,
        **counts,
        "disruptionsAllowed": 0,
        "conditions": _conditions(budget, "SyncFailed", message, now),
    }


def _disrupted(
    budget: Object, pods: Sequence[Object], now: datetime
) -> tuple[dict[str, str], tuple[Object, ...], float | None]:
    """The Pods whose eviction was allowed and that are not seen going yet."""
    known = (budget.get("status") or {}).get("disruptedPods") or {}
    kept: dict[str, str] = {}
    late: list[Object] = []
    waits: list[float] = []
    for pod in pods:
        name = pod["metadata"]["name"]
        if name not in known or is_terminating(pod):
            continue
        left_s = (parse_time(known[name]) + DELETION_TIMEOUT - now).total_seconds()
        if left_s <= 0:
            late.append(pod)
        else:
            kept[name] = known[name]
            waits.append(left_s)
    return kept, tuple(late), min(waits, default=None)


def _conditions(budget: Object, reason: str, message: str, now: datetime) -> list[dict[str, Any]]:
    condition = {
        "type": ALLOWED,
        "status": "True" if reason == "SufficientPods" else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    return with_condition((budget.get("status") or {}).get("conditions"), condition, now)
