"""The scheduling loop: take a Pod, decide, assume, bind in the background, go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from agents.scheduler.algorithm import Decision, schedule
from agents.scheduler.binder import Binder
from agents.scheduler.binding_cycle import BindingCycle
from agents.scheduler.cluster import Cluster
from agents.scheduler.evictor import Evictor
from agents.scheduler.figures import ERROR, SCHEDULED, Figures
from agents.scheduler.figures import UNSCHEDULABLE as NOWHERE
from agents.scheduler.framework import Change
from agents.scheduler.handle import Handle
from agents.scheduler.intake import Intake
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.profile import Profile
from agents.scheduler.queue import BACKOFF_S_MAX, BACKOFF_S_MIN, SchedulingQueue
from agents.scheduler.reporter import SCHEDULER_ERROR, UNSCHEDULABLE, Reporter
from kubraft.api.gvk import NODE, POD
from kubraft.api.time import within
from kubraft.client.events import EventRecorder
from kubraft.log import get_logger

# Pods on their way to a node at once, most of which wait for a volume or a permit; then decisions
# wait, too.
UNDER_WAY_MAX = 512


class Scheduler:
    """Follows the cluster always (`follow`), decides only while it may (`run`)."""

    def __init__(
        self,
        handle: Handle,
        *,
        profiles: Sequence[Profile],
        recorders: Mapping[str, EventRecorder],
        backoff_s_min: float = BACKOFF_S_MIN,
        backoff_s_max: float = BACKOFF_S_MAX,
    ) -> None:
        """`recorders` are by the profiles' names, in which they speak.

        The handle's client must be fenced by the election where several schedulers run.
        """
        self._profiles = {profile.scheduler_name: profile for profile in profiles}
        self._handle = handle
        self._clock = handle.clock
        self._rng = handle.rng
        self.cluster = Cluster()
        self.queue = SchedulingQueue(
            profiles, backoff_s_min=backoff_s_min, backoff_s_max=backoff_s_max
        )
        self._wake = asyncio.Event()
        self._intake = Intake(
            self.cluster, self.queue, self._clock, self._wake.set, frozenset(self._profiles)
        )
        self._reporter = Reporter(handle.client, handle.informer(POD), recorders, self._clock)
        self._evictor = Evictor(handle.client, recorders, self._clock)
        self._bindings = BindingCycle(
            Binder(handle.client, self._clock), self._reporter, self._take_back
        )
        self._figures = Figures()
        self._under_way = asyncio.Semaphore(UNDER_WAY_MAX)
        self._start = 0
        self._log = get_logger("scheduler")
        self._attach()

    def _attach(self) -> None:
        handle = self._handle
        handle.informer(NODE).add_handler(self._intake.node)
        handle.informer(POD).add_handler(self._intake.pod)
        watched = {kind for profile in self._profiles.values() for kind in profile.watches}
        for kind in sorted(watched - {NODE, POD}):
            handle.informer(kind).add_handler(self._intake.handler_of(kind))

    async def follow(self) -> None:
        """Keep the picture of the cluster up to date until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._handle.informers.values():
                group.create_task(informer.run())

    async def wait_synced(self) -> None:
        """Return once all that decisions depend on is known."""
        for informer in self._handle.informers.values():
            await informer.wait_synced()

    async def run(self) -> None:
        """Schedule until cancelled.

        Raises:
            LeadershipLostError: (in an exception group) a write was refused by the fence.
        """
        await self.wait_synced()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reporter.run())
            group.create_task(self._evictor.run())
            while True:
                await self._under_way.acquire()
                began_s = self._clock.monotonic_s()
                pod = self.queue.pop(began_s)
                node_name = self._decide(pod, began_s) if pod else ""
                if pod and node_name:
                    attempts, queued_s = self.queue.history(pod.key)
                    bind = self._bind(pod, node_name, began_s, attempts, queued_s)
                    group.create_task(bind)
                else:
                    self._under_way.release()
                if pod is None:
                    await self._wait()
                else:
                    await asyncio.sleep(0)  # informers and bindings get their turn

    def figures(self) -> Iterator[str]:
        """What it did, in Prometheus' text form."""
        return self._figures.lines(self.queue.counts())

    def _decide(self, pod: PodInfo, began_s: float) -> str:
        """Decide for one Pod; the node that it is assumed on, or ""."""
        profile = self._profiles[pod.scheduler_name]
        try:
            decision = self._schedule(profile, pod)
            took_s = self._clock.monotonic_s() - began_s
            self._figures.decided(took_s)
        except Exception as error:  # noqa: BLE001 - one Pod must not stop the others
            self._log.exception("decision_failed", pod=str(pod.key))
            took_s = self._clock.monotonic_s() - began_s
            self._figures.attempted(profile.scheduler_name, ERROR, took_s)
            self.queue.retry(pod, self._clock.monotonic_s())
            self._reporter.failed(pod, SCHEDULER_ERROR, f"{type(error).__name__}: {error}")
            return ""
        if not decision.node_name:
            self._figures.attempted(profile.scheduler_name, NOWHERE, took_s)
            self._rejected(pod, decision)
            return ""
        self.cluster.assume(pod, decision.node_name)
        for plugin in profile.reserves:
            if refused := plugin.reserve(pod, decision.node_name):
                self._take_back(profile, pod, decision.node_name)
                self._reporter.failed(pod, UNSCHEDULABLE, refused)
                return ""
        return decision.node_name

    def _schedule(self, profile: Profile, pod: PodInfo) -> Decision:
        snapshot = self.cluster.snapshot()
        decision = schedule(profile, snapshot, pod, rng=self._rng, start=self._start)
        self._start += decision.evaluated_count
        return decision

    def _rejected(self, pod: PodInfo, decision: Decision) -> None:
        """No node suits: say so, and make room where that is possible."""
        self.queue.reject(pod, decision.rejected_by, self._clock.monotonic_s())
        nominated: str | None = decision.nominated
        if decision.keeps_nomination:
            nominated = None
        elif decision.nominated:
            self._figures.preempted(len(decision.victims))
            for victim in decision.victims:
                self._evictor.evict(victim, pod, decision.nominated)
            for other in self.cluster.nominated_below(pod, decision.nominated):
                self.cluster.nominate(other, "")
                self._reporter.not_nominated(other)
        if nominated is not None:
            self.cluster.nominate(pod, nominated)
        self._reporter.failed(pod, UNSCHEDULABLE, decision.message, nominated)

    async def _bind(
        self, pod: PodInfo, node_name: str, began_s: float, attempts: int, queued_s: float
    ) -> None:
        profile = self._profiles[pod.scheduler_name]
        try:
            bound = await self._bindings.carry_out(profile, pod, node_name)
        finally:
            self._under_way.release()
        now_s = self._clock.monotonic_s()
        result = SCHEDULED if bound else ERROR
        self._figures.attempted(profile.scheduler_name, result, now_s - began_s)
        if bound:
            self._figures.bound(attempts, now_s - queued_s)

    def _take_back(self, profile: Profile, pod: PodInfo, node_name: str) -> bool:
        """The Pod does not go there: free what it took. False where it is not on its way."""
        for plugin in reversed(profile.reserves):
            plugin.unreserve(pod, node_name)
        was_assumed = self.cluster.forget(pod)
        self.queue.retry(pod, self._clock.monotonic_s())
        if was_assumed:
            self._intake.changed(Change.POD_GONE, node_name)
        return was_assumed

    async def _wait(self) -> None:
        """Return once there may be a Pod to schedule."""
        next_s = self.queue.next_s()
        if next_s is None:
            await self._wake.wait()
        else:
            left_s = max(next_s - self._clock.monotonic_s(), 0.001)
            try:
                await within(self._clock, left_s, _until(self._wake))
            except TimeoutError:
                return
        self._wake.clear()


async def _until(event: asyncio.Event) -> None:
    await event.wait()
