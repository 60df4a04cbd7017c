"""Says on a Pod, and in Events, what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from agents.scheduler.pod_info import PodInfo
from kubraft.api.conditions import conditions_of, find_condition, with_condition
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import POD
from kubraft.api.object import Object, ObjectKey, uid_of
from kubraft.api.pods import node_of
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.controller import Controller
from kubraft.client.events import EventRecorder
from kubraft.client.informer import Informer

UNSCHEDULABLE = "Unschedulable"
SCHEDULER_ERROR = "SchedulerError"


class _Report(NamedTuple):
    uid: str
    reason: str  # empty: the condition stays as it is
    message: str
    nominated: str | None  # None: stays as it is


class Reporter:
    """Writes condition PodScheduled from a queue, so that decisions do not wait for it."""

    def __init__(
        self,
        client: ApiClient,
        pods: Informer,
        recorders: Mapping[str, EventRecorder],
        clock: Clock,
    ) -> None:
        self._client = client
        self._pods = pods
        self._recorders = recorders
        self._clock = clock
        # The last report of each Pod that is still to be written.
        self._reports: dict[ObjectKey, _Report] = {}
        self._writer: Controller[ObjectKey] = Controller(
            "scheduler.reporter", self._write, workers=4, clock=clock
        )

    async def run(self) -> None:
        """Write reports until cancelled."""
        await self._writer.run()

    def scheduled(self, pod: PodInfo, node_name: str) -> None:
        """The Pod is bound; the API server has set the condition."""
        self._reports.pop(pod.key, None)
        message = f"Successfully assigned {pod.key.namespace}/{pod.key.name} to {node_name}"
        self._recorders[pod.scheduler_name].event(pod.obj, "Normal", "Scheduled", message)

    def failed(self, pod: PodInfo, reason: str, message: str, nominated: str | None = None) -> None:
        """The Pod stays Pending; `reason` is UNSCHEDULABLE or SCHEDULER_ERROR.

        `nominated` is the node that it gets once others have left it, "" where there is none.
        """
        self._recorders[pod.scheduler_name].event(pod.obj, "Warning", "FailedScheduling", message)
        self._put(pod, _Report(pod.uid, reason, message, nominated))

    def not_nominated(self, pod: PodInfo) -> None:
        """Another Pod gets the node that this one waited for."""
        self._put(pod, _Report(pod.uid, "", "", ""))

    def _put(self, pod: PodInfo, report: _Report) -> None:
        self._reports[pod.key] = report
        self._writer.queue.add(pod.key)

    async def _write(self, key: ObjectKey) -> None:
        report, pod = self._reports.get(key), self._pods.get(key)
        if report is None or pod is None or uid_of(pod) != report.uid or node_of(pod):
            self._reports.pop(key, None)
            return
        if change := self._change(pod, report):
            with suppress(NotFoundError):
                # Only this very version: the list is replaced as a whole.
                await self._client.patch(
                    POD,
                    key.name,
                    {"status": change},
                    key.namespace,
                    "status",
                    resource_version=pod["metadata"]["resourceVersion"],
                )
        if self._reports.get(key) is report:
            del self._reports[key]

    def _change(self, pod: Object, report: _Report) -> dict[str, Any]:
        """What is to change in the Pod's status."""
        change: dict[str, Any] = {}
        stored = (pod.get("status") or {}).get("nominatedNodeName") or ""
        if report.nominated is not None and report.nominated != stored:
            change["nominatedNodeName"] = report.nominated or None
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": report.reason,
            "message": report.message,
        }
        old = find_condition(conditions_of(pod), "PodScheduled") or {}
        if report.reason and any(old.get(name) != value for name, value in condition.items()):
            change["conditions"] = with_condition(conditions_of(pod), condition, self._clock.now())
        return change
