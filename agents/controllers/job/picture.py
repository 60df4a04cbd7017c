"""One reading of a Job and its Pods: who runs, who has ended, and who of those is counted already.

A Pod that ended is counted in three steps, so that it is counted once whatever breaks: its uid
goes into `status.uncountedTerminatedPods`, its finalizer is removed, and its uid becomes one more
in `succeeded` or `failed`. An index of an indexed Job needs no uid: `completedIndexes` is enough.

Source: Kubernetes documentation, "Job tracking with finalizers"; KEP-2307.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from agents.controllers.job.failure_policy import judge
from agents.controllers.job.indexes import Indexes, parse_indexes
from agents.controllers.job.reading import (
    completions_of,
    failures_of,
    ignored_of,
    index_of,
    is_failed,
    is_indexed,
    is_tracked,
    limit_per_index,
    status_of,
)
from kubraft.api.object import Object, is_terminating, uid_of
from kubraft.api.pods import is_active, is_pod_ready, is_terminated, phase_of


@dataclass(frozen=True, slots=True)
class Picture:
    """The reading; `new_*` are Pods that ended and are in no count yet."""

    job: Object
    pods: tuple[Object, ...]
    tracked: tuple[Object, ...]  # that still have their finalizer
    active: tuple[Object, ...]
    ready: int
    terminating: int
    uncounted_succeeded: frozenset[str]
    uncounted_failed: frozenset[str]
    new_succeeded: tuple[Object, ...]
    new_failed: tuple[Object, ...]
    succeeded: int  # counted or not
    failed: int
    counted_indexes: Indexes
    done_indexes: Indexes  # counted or not
    failed_indexes: Indexes
    delayed: Mapping[int, Object]  # last failed Pod of each index that will be tried again


def look(job: Object, pods: Sequence[Object], untracked: AbstractSet[str] = frozenset()) -> Picture:
    """Read the Job.

    Args:
        pods: all Pods that the Job owns.
        untracked: uids whose finalizers were removed, which the cache may not show yet.
    """
    status = status_of(job)
    uncounted = status.get("uncountedTerminatedPods") or {}
    done, broken = (
        frozenset(uncounted.get("succeeded") or ()),
        frozenset(uncounted.get("failed") or ()),
    )
    tracked = tuple(p for p in pods if is_tracked(p) and uid_of(p) not in untracked)
    fresh = [p for p in tracked if uid_of(p) not in done | broken]
    active = tuple(p for p in pods if is_active(p))
    new_succeeded = tuple(p for p in fresh if phase_of(p) == "Succeeded")
    new_failed = tuple(p for p in fresh if is_failed(p, job))
    counting = [p for p in new_failed if judge(job, p).counts]
    counted, found = _done_indexes(job, tracked)
    lost = _failed_indexes(job, tracked)
    succeeded = status.get("succeeded", 0) + len(new_succeeded) + len(done)
    return Picture(
        job=job,
        pods=tuple(pods),
        tracked=tracked,
        active=active,
        ready=sum(map(is_pod_ready, active)),
        terminating=sum(is_terminating(p) and not is_terminated(p) for p in pods),
        uncounted_succeeded=done,
        uncounted_failed=broken,
        new_succeeded=new_succeeded,
        new_failed=new_failed,
        succeeded=len(found) if is_indexed(job) else succeeded,
        failed=status.get("failed", 0) + len(counting) + len(broken),
        counted_indexes=counted,
        done_indexes=found,
        failed_indexes=lost,
        delayed=_delayed(job, fresh, active, found | lost),
    )


def new_counts(job: Object, last: Object | None) -> tuple[int, int]:
    """Failures and ignored failures of an index before its next Pod; `last` is what failed."""
    if last is None:
        return 0, 0
    counts = judge(job, last).counts
    return failures_of(last) + counts, ignored_of(last) + (not counts)


def _valid_index(job: Object, pod: Object) -> int | None:
    index = index_of(pod)
    return index if index is not None and index < (completions_of(job) or 0) else None


def _done_indexes(job: Object, tracked: Sequence[Object]) -> tuple[Indexes, Indexes]:
    """Indexes that are counted as succeeded, and these with those that are not yet."""
    if not is_indexed(job):
        return frozenset(), frozenset()
    counted = parse_indexes(status_of(job).get("completedIndexes"), completions_of(job) or 0)
    ended = (_valid_index(job, p) for p in tracked if phase_of(p) == "Succeeded")
    return counted, counted | {index for index in ended if index is not None}


def _failed_indexes(job: Object, tracked: Sequence[Object]) -> Indexes:
    limit = limit_per_index(job)
    if limit is None or not is_indexed(job):
        return frozenset()
    counted = parse_indexes(status_of(job).get("failedIndexes"), completions_of(job) or 0)
    lost = (_valid_index(job, p) for p in tracked if _fails_index(job, p, limit))
    return counted | {index for index in lost if index is not None}


def _fails_index(job: Object, pod: Object, limit: int) -> bool:
    if not is_failed(pod, job):
        return False
    judgement = judge(job, pod)
    if judgement.action == "FailIndex":
        return True
    return judgement.counts and failures_of(pod) >= limit


def _delayed(
    job: Object, fresh: Sequence[Object], active: Sequence[Object], over: Indexes
) -> dict[int, Object]:
    """Failed Pods that keep their finalizer, as they know how often their index failed."""
    if limit_per_index(job) is None:
        return {}
    running = {index_of(p) for p in active}
    kept: dict[int, Object] = {}
    for pod in fresh:
        index = _valid_index(job, pod)
        if index is None or index in running or index in over or not is_failed(pod, job):
            continue
        last = kept.get(index)
        if last is None or _absolute(pod) >= _absolute(last):
            kept[index] = pod
    return kept


def _absolute(pod: Object) -> int:
    return failures_of(pod) + ignored_of(pod)
