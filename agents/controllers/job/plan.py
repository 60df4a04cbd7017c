"""Which Pods a Job makes or ends now.

Source: Kubernetes documentation, "Parallel execution for Jobs"; upstream's job controller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.controllers.job.backoff import Record, index_wait_s
from agents.controllers.job.indexes import lowest_missing
from agents.controllers.job.picture import Picture
from agents.controllers.job.reading import (
    completions_of,
    index_of,
    is_indexed,
    is_suspended,
    limit_per_index,
    parallelism_of,
    replaces_only_failed,
)
from agents.controllers.replica_set.ranking import rank
from kubraft.api.object import Object, is_terminating
from kubraft.api.pods import is_terminated

# The most Pods that one reconcile creates or deletes. Source: upstream.
BURST = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """Create Pods, one an index (None: without), or delete some; never both."""

    create: tuple[int | None, ...] = ()
    delete: tuple[Object, ...] = ()
    wait_s: float | None = None  # nothing now: a Pod failed too lately


def plan(picture: Picture, record: Record, now: datetime) -> Plan:
    """Bring the number of active Pods to what the Job wants; none while it is suspended."""
    job, active = picture.job, len(picture.active)
    if is_suspended(job):
        return Plan(delete=tuple(picture.active))
    wanted = _wanted(picture)
    if surplus := _surplus(picture, active - wanted, now):
        return Plan(delete=surplus[:BURST])
    leaving = picture.terminating if replaces_only_failed(job) else 0
    lacking = min(wanted - leaving - active, BURST)
    if lacking <= 0:
        return Plan()
    by_index = limit_per_index(job) is not None
    if not by_index and (wait_s := record.wait_s(now)):
        return Plan(wait_s=wait_s)
    if not is_indexed(job):
        return Plan(create=(None,) * lacking)
    free = lowest_missing(_taken(picture), lacking, completions_of(job) or 0)
    waits = {
        index: index_wait_s(picture.delayed[index], now) if index in picture.delayed else 0.0
        for index in free
    }
    ready = tuple(index for index in free if not waits[index])
    return Plan(create=ready, wait_s=min((w for w in waits.values() if w), default=None))


def _wanted(picture: Picture) -> int:
    """How many Pods should run now."""
    job, most = picture.job, parallelism_of(picture.job)
    completions = completions_of(job)
    if completions is None:
        # After the first success nothing new begins.
        return len(picture.active) if picture.succeeded else most
    left = completions - picture.succeeded - len(picture.failed_indexes)
    return max(min(left, most), 0)


def _surplus(picture: Picture, count: int, now: datetime) -> tuple[Object, ...]:
    """At least `count` active Pods to end: first those whose index another has or nobody wants."""
    ordered = sorted(picture.active, key=lambda pod: rank(pod, 0, now))
    if not is_indexed(picture.job):
        return tuple(ordered[: max(count, 0)])
    idle = _idle(picture, ordered)
    chosen = {id(pod) for pod in idle}
    rest = [pod for pod in ordered if id(pod) not in chosen]
    # Of those that are left, the highest indexes go first.
    rest.sort(key=lambda pod: -(index_of(pod) or 0))
    return (*idle, *rest[: max(count - len(idle), 0)])


def _idle(picture: Picture, ordered: Sequence[Object]) -> list[Object]:
    completions = completions_of(picture.job) or 0
    left = Counter(index_of(pod) for pod in ordered)
    idle: list[Object] = []
    for pod in ordered:
        index = index_of(pod)
        over = index is None or index >= completions or index in picture.done_indexes
        if over or left[index] > 1:
            left[index] -= 1
            idle.append(pod)
    return idle


def _taken(picture: Picture) -> set[int]:
    """The indexes that need no Pod now."""
    holders = list(picture.active)
    if replaces_only_failed(picture.job):
        holders += [p for p in picture.pods if is_terminating(p) and not is_terminated(p)]
    running = {index for pod in holders if (index := index_of(pod)) is not None}
    return running | picture.done_indexes | picture.failed_indexes
