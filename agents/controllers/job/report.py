"""What a Job's status says of its Pods, and of being suspended and resumed.

Source: Kubernetes documentation, "Suspending a Job"; upstream's reasons and messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.controllers.job.picture import Picture
from agents.controllers.job.reading import is_suspended, status_of
from agents.controllers.job.verdict import condition
from kubraft.api.conditions import find_condition
from kubraft.api.object import Object
from kubraft.api.time import format_time


@dataclass(frozen=True, slots=True)
class Counts:
    """Pods as they stand after this turn's creates and deletes."""

    active: int
    ready: int
    terminating: int


def report(
    picture: Picture, counts: Counts, now: datetime, *, managed: bool
) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """The status, less what tracking.py adds, and reason and message of an Event, if any.

    Args:
        managed: whether this turn brought the number of Pods to what is wanted.
    """
    job = picture.job
    status: dict[str, Any] = {
        **status_of(job),
        "active": counts.active,
        "ready": counts.ready,
        "terminating": counts.terminating,
    }
    status.setdefault("uncountedTerminatedPods", {})
    status = {k: v for k, v in status.items() if v or k != "active"}
    if not is_suspended(job):
        status.setdefault("startTime", format_time(now))
    event = _suspension(job, status, now) if managed else None
    return status, event


def _suspension(job: Object, status: dict[str, Any], now: datetime) -> tuple[str, str] | None:
    known = find_condition(status.get("conditions"), "Suspended")
    held = known is not None and known["status"] == "True"
    if is_suspended(job) == held:
        return None
    others = [c for c in status.get("conditions") or () if c["type"] != "Suspended"]
    if is_suspended(job):
        fresh = condition("Suspended", "JobSuspended", "Job suspended", now)
        status["conditions"] = [*others, fresh]
        return "Suspended", "Job suspended"
    fresh = condition("Suspended", "JobResumed", "Job resumed", now, "False")
    status["conditions"] = [*others, fresh]
    # The deadline counts from here.
    status["startTime"] = format_time(now)
    return "Resumed", "Job resumed"
