"""Which Pod is tried first, and which not yet.

Source: kube-scheduler's PrioritySort and SchedulingGates.
"""

from __future__ import annotations

from agents.scheduler.framework import Plugin
from agents.scheduler.pod_info import PodInfo


class PrioritySort(Plugin):
    """Higher priority first; of the same the one that waited longer."""

    name = "PrioritySort"

    def sort_key(self, pod: PodInfo, queued_s: float) -> tuple[float, ...]:
        return (-pod.priority, queued_s)


class SchedulingGates(Plugin):
    """Leaves a Pod alone while it has scheduling gates; others take them away."""

    name = "SchedulingGates"

    def pre_enqueue(self, pod: PodInfo) -> str | None:
        if not pod.gates:
            return None
        return f"waiting for scheduling gates: [{' '.join(pod.gates)}]"
