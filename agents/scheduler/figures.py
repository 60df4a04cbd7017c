"""What the scheduler did, under upstream's names.

Source: Kubernetes documentation, "Kubernetes Metrics Reference" (scheduler_*).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agents.scheduler.queue import Part
from kubraft.figures import Counter, Gauge, Histogram

SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"

_ATTEMPT_S = tuple(0.001 * 2**power for power in range(15))
_SINCE_QUEUED_S = tuple(0.01 * 2**power for power in range(20))
_ATTEMPTS = (1.0, 2.0, 4.0, 8.0, 16.0)
_VICTIMS = tuple(2.0**power for power in range(7))
_QUEUES = {
    Part.ACTIVE: "active",
    Part.BACKOFF: "backoff",
    Part.UNSCHEDULABLE: "unschedulable",
    Part.GATED: "gated",
}


class Figures:
    """Of one scheduler; moments and durations are given in seconds."""

    def __init__(self) -> None:
        by_result = ("profile", "result")
        self._attempts = Counter(
            "scheduler_schedule_attempts_total", "Decisions, by what came of them.", by_result
        )
        self._attempt_s = Histogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "From taking a Pod to its being bound, or to the reason why not.",
            by_result,
            _ATTEMPT_S,
        )
        self._algorithm_s = Histogram(
            "scheduler_scheduling_algorithm_duration_seconds", "A decision.", (), _ATTEMPT_S
        )
        self._since_queued_s = Histogram(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "From first seeing a Pod to its being bound, by attempts.",
            ("attempts",),
            _SINCE_QUEUED_S,
        )
        self._tries = Histogram(
            "scheduler_pod_scheduling_attempts", "Decisions until a Pod was bound.", (), _ATTEMPTS
        )
        self._preemptions = Counter(
            "scheduler_preemption_attempts_total", "Decisions that evict Pods.", ()
        )
        self._victims = Histogram(
            "scheduler_preemption_victims", "Pods that were evicted for one.", (), _VICTIMS
        )
        self._pending = Gauge("scheduler_pending_pods", "Pods that wait, by where.", ("queue",))

    def decided(self, took_s: float) -> None:
        """A decision was made."""
        self._algorithm_s.observe(took_s)

    def attempted(self, profile: str, result: str, took_s: float) -> None:
        """An attempt came to its end."""
        self._attempts.inc(profile, result)
        self._attempt_s.observe(took_s, profile, result)

    def bound(self, attempts: int, since_queued_s: float) -> None:
        """A Pod has a node."""
        self._tries.observe(attempts)
        self._since_queued_s.observe(since_queued_s, str(min(attempts, 16)))

    def preempted(self, victims: int) -> None:
        """Pods are evicted for the sake of another one."""
        self._preemptions.inc()
        self._victims.observe(victims)

    def lines(self, waiting: Mapping[Part, int]) -> Iterator[str]:
        """All of it in Prometheus' text form, and how many Pods wait where."""
        for part, queue in _QUEUES.items():
            self._pending.set(waiting.get(part, 0), queue)
        for figure in (
            self._attempts, self._attempt_s, self._algorithm_s, self._since_queued_s, self._tries,
            self._preemptions, self._victims, self._pending,
        ):  # fmt: skip
            yield from figure.lines()
