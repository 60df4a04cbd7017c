"""How ended Pods get into the counts of a Job's status, each once; see picture.py.

`track` gives the status to write before finalizers are removed, and the Pods to remove them from;
`conclude` gives the status after that. Each may be lost or repeated without a Pod counted twice.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.controllers.job.failure_policy import judge
from agents.controllers.job.indexes import format_indexes
from agents.controllers.job.picture import Picture
from agents.controllers.job.reading import (
    completions_of,
    index_of,
    is_failed,
    is_indexed,
)
from agents.controllers.job.verdict import FAILURE, FINAL, condition
from kubraft.api.conditions import Condition, find_condition
from kubraft.api.object import Object, is_terminating, uid_of
from kubraft.api.pods import phase_of

# So many uids a status holds at once; the rest waits for the next turn. Source: upstream.
UNCOUNTED_MAX = 500


@dataclass(frozen=True, slots=True)
class Tracked:
    """What `track` decides."""

    status: dict[str, Any]
    release: tuple[Object, ...]
    all_counted: bool


def track(picture: Picture, status: dict[str, Any], ending: Condition | None) -> Tracked:
    """Count what has ended.

    Args:
        status: to begin with: the Job's, with what else this turn changes.
        ending: the condition that ends the Job, where it is to end.
    """
    held = {uid_of(pod) for pod in picture.tracked}
    status = without_released(status, held)
    uncounted = status["uncountedTerminatedPods"]
    succeeded, failed = list(uncounted.get("succeeded", ())), list(uncounted.get("failed", ()))
    indexes = set(picture.counted_indexes)
    release: list[Object] = []
    full = False
    for pod in picture.tracked:
        if not _may_go(picture, pod, ending):
            continue
        if len(indexes - picture.counted_indexes) + len(succeeded) + len(failed) >= UNCOUNTED_MAX:
            full = True
            break
        release.append(pod)
        if uid_of(pod) in picture.uncounted_failed | picture.uncounted_succeeded:
            continue
        if phase_of(pod) == "Succeeded":
            _count_success(picture.job, pod, indexes, succeeded)
        elif _counts_as_failed(picture.job, pod, ending):
            failed.append(uid_of(pod))
    status["uncountedTerminatedPods"] = _uncounted(succeeded, failed)
    if is_indexed(picture.job):
        _set_indexes(picture, status, indexes)
    if ending is not None and find_condition(status.get("conditions"), ending["type"]) is None:
        status["conditions"] = [*(status.get("conditions") or ()), ending]
    return Tracked(status, tuple(release), not full)


def conclude(
    status: dict[str, Any], held: AbstractSet[str], ending: Condition | None, now: datetime
) -> dict[str, Any]:
    """The status once only the Pods of uids `held` have their finalizer still.

    The Job is finished when no Pod is uncounted and none is terminating.
    """
    status = without_released(status, held)
    if ending is None or status["uncountedTerminatedPods"] or status.get("terminating"):
        return status
    final = condition(FINAL[ending["type"]], ending["reason"], ending["message"], now)
    status["conditions"] = [*(status.get("conditions") or ()), final]
    if final["type"] == "Complete":
        status["completionTime"] = final["lastTransitionTime"]
    return status


def without_released(status: dict[str, Any], held: AbstractSet[str]) -> dict[str, Any]:
    """`status` with the uids that are no longer `held` counted."""
    status = dict(status)
    uncounted = status.get("uncountedTerminatedPods") or {}
    left: dict[str, list[str]] = {}
    for part in ("succeeded", "failed"):
        uids = uncounted.get(part) or ()
        left[part] = [uid for uid in uids if uid in held]
        if counted := len(uids) - len(left[part]):
            status[part] = status.get(part, 0) + counted
    status["uncountedTerminatedPods"] = _uncounted(left["succeeded"], left["failed"])
    return status


def _uncounted(succeeded: list[str], failed: list[str]) -> dict[str, list[str]]:
    parts = {"succeeded": succeeded, "failed": failed}
    return {name: uids for name, uids in parts.items() if uids}


def _may_go(picture: Picture, pod: Object, ending: Condition | None) -> bool:
    """Whether the finalizer may be removed."""
    if ending is not None or is_terminating(picture.job) or phase_of(pod) == "Succeeded":
        return True
    if not is_failed(pod, picture.job):
        return False
    kept = picture.delayed.get(index_of(pod) or 0) if picture.delayed else None
    return kept is None or uid_of(kept) != uid_of(pod)


def _count_success(job: Object, pod: Object, indexes: set[int], succeeded: list[str]) -> None:
    if not is_indexed(job):
        succeeded.append(uid_of(pod))
    elif (index := index_of(pod)) is not None and index < (completions_of(job) or 0):
        indexes.add(index)


def _counts_as_failed(job: Object, pod: Object, ending: Condition | None) -> bool:
    """Pods that still run when a Job fails count as failed, too."""
    if not is_failed(pod, job) and (ending is None or ending["type"] != FAILURE):
        return False
    if is_indexed(job):
        index = index_of(pod)
        if index is None or index >= (completions_of(job) or 0):
            return False
    return judge(job, pod).counts


def _set_indexes(picture: Picture, status: dict[str, Any], indexes: set[int]) -> None:
    status["succeeded"] = len(indexes)
    if text := format_indexes(indexes):
        status["completedIndexes"] = text
    if picture.job["spec"].get("backoffLimitPerIndex") is not None:
        status["failedIndexes"] = format_indexes(picture.failed_indexes)
