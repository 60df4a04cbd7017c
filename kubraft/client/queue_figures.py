"""How work queues do, under the names that upstream's processes give to theirs.

Figures are of the process: a queue that is made anew under its name goes on counting.

Source: Kubernetes documentation, "Kubernetes Metrics Reference" (workqueue_*); client-go's work
queue (buckets).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final

from kubraft.figures import Counter, Gauge, Histogram

_LABELS: Final = ("name",)
_BOUNDS_S: Final = tuple(10.0**power for power in range(-8, 4))

DEPTH: Final = Gauge("workqueue_depth", "Keys that wait to be taken.", _LABELS)
ADDS: Final = Counter("workqueue_adds_total", "Keys that were added.", _LABELS)
RETRIES: Final = Counter("workqueue_retries_total", "Keys that came back later.", _LABELS)
WAITED: Final = Histogram(
    "workqueue_queue_duration_seconds", "How long a key waited to be taken.", _LABELS, _BOUNDS_S
)
WORKED: Final = Histogram(
    "workqueue_work_duration_seconds", "How long the work on a key took.", _LABELS, _BOUNDS_S
)


class QueueFigures:
    """Those of the queue `name`. Moments are monotonic seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._added_s: dict[Hashable, float] = {}
        self._taken_s: dict[Hashable, float] = {}

    def added(self, key: Hashable, now_s: float) -> None:
        """A key has come to wait."""
        ADDS.inc(self._name)
        self._added_s[key] = now_s
        DEPTH.set(len(self._added_s), self._name)

    def retried(self) -> None:
        """A key will be added later."""
        RETRIES.inc(self._name)

    def taken(self, key: Hashable, now_s: float) -> None:
        """The work on a key begins."""
        WAITED.observe(now_s - self._added_s.pop(key, now_s), self._name)
        self._taken_s[key] = now_s
        DEPTH.set(len(self._added_s), self._name)

    def done(self, key: Hashable, now_s: float) -> None:
        """The work on a key has ended."""
        WORKED.observe(now_s - self._taken_s.pop(key, now_s), self._name)

    def closed(self) -> None:
        """Nothing waits any longer."""
        self._added_s.clear()
        DEPTH.set(0, self._name)


def lines() -> Iterator[str]:
    """What all queues of the process did, in Prometheus' text form."""
    for figure in (ADDS, DEPTH, WAITED, RETRIES, WORKED):
        yield from figure.lines()
