"""The scheduling loop: take a Pod, decide, assume, bind in the background, go on."""

from __future__ import annotations

import asyncio
from random import Random

from agents.scheduler.algorithm import Decision, schedule
from agents.scheduler.binder import Binder, Outcome
from agents.scheduler.cluster import Cluster
from agents.scheduler.framework import Change, Profile
from agents.scheduler.intake import Intake
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.queue import SchedulingQueue
from agents.scheduler.reporter import SCHEDULER_ERROR, UNSCHEDULABLE, Reporter
from kubraft.api.gvk import NODE, POD
from kubraft.api.time import Clock, within
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder
from kubraft.client.informer import Informer
from kubraft.client.leader_election import LeadershipLostError
from kubraft.log import get_logger

# Bindings under way at once; more wait, and so do decisions.
BINDING_MAX = 128


class Scheduler:
    """Follows the cluster always (`follow`), decides only while it may (`run`)."""

    def __init__(
        self,
        client: ApiClient,
        *,
        profile: Profile,
        recorder: EventRecorder,
        clock: Clock,
        rng: Random,
    ) -> None:
        """`client` must be fenced by the election where several schedulers run."""
        self._profile = profile
        self._clock = clock
        self._rng = rng
        self._pods = Informer(client, POD, clock=clock, rng=rng)
        self._nodes = Informer(client, NODE, clock=clock, rng=rng)
        self.cluster = Cluster()
        self.queue = SchedulingQueue(profile)
        self._wake = asyncio.Event()
        self._intake = Intake(
            self.cluster, self.queue, clock, self._wake.set, profile.scheduler_name
        )
        self._binder = Binder(client, clock)
        self._reporter = Reporter(client, self._pods, recorder, clock)
        self._bindings = asyncio.Semaphore(BINDING_MAX)
        self._start = 0
        self._log = get_logger("scheduler")
        self._nodes.add_handler(self._intake.node)
        self._pods.add_handler(self._intake.pod)

    async def follow(self) -> None:
        """Keep the picture of the cluster up to date until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._nodes.run())
            group.create_task(self._pods.run())

    async def wait_synced(self) -> None:
        """Return once nodes and Pods are known."""
        await self._nodes.wait_synced()
        await self._pods.wait_synced()

    async def run(self) -> None:
        """Schedule until cancelled.

        Raises:
            LeadershipLostError: (in an exception group) a write was refused by the fence.
        """
        await self.wait_synced()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reporter.run())
            while True:
                await self._bindings.acquire()
                pod = self.queue.pop(self._clock.monotonic_s())
                node_name = self._decide(pod) if pod else ""
                if pod and node_name:
                    group.create_task(self._bind(pod, node_name))
                else:
                    self._bindings.release()
                if pod is None:
                    await self._wait()
                else:
                    await asyncio.sleep(0)  # informers and bindings get their turn

    def _decide(self, pod: PodInfo) -> str:
        """Decide for one Pod; the node that it is assumed on, or ""."""
        try:
            decision = self._schedule(pod)
        except Exception as error:  # noqa: BLE001 - one Pod must not stop the others
            self._log.exception("decision_failed", pod=str(pod.key))
            self.queue.retry(pod, self._clock.monotonic_s())
            self._reporter.failed(pod, SCHEDULER_ERROR, f"{type(error).__name__}: {error}")
            return ""
        if not decision.node_name:
            self.queue.reject(pod, decision.rejected_by, self._clock.monotonic_s())
            self._reporter.failed(pod, UNSCHEDULABLE, decision.message)
            return ""
        self.cluster.assume(pod, decision.node_name)
        if refused := self._reserve(pod, decision.node_name):
            self._take_back(pod, decision.node_name)
            self._reporter.failed(pod, UNSCHEDULABLE, refused)
            return ""
        return decision.node_name

    def _schedule(self, pod: PodInfo) -> Decision:
        snapshot = self.cluster.snapshot()
        decision = schedule(self._profile, snapshot, pod, rng=self._rng, start=self._start)
        self._start += decision.evaluated_count
        return decision

    def _reserve(self, pod: PodInfo, node_name: str) -> str | None:
        for plugin in self._profile.reserves:
            if refused := plugin.reserve(pod, node_name):
                return refused
        return None

    async def _bind(self, pod: PodInfo, node_name: str) -> None:
        try:
            for permit in self._profile.permits:
                if refused := await permit(pod, node_name):
                    self._take_back(pod, node_name)
                    self._reporter.failed(pod, UNSCHEDULABLE, refused)
                    return
            outcome, message = await self._binder.bind(pod, node_name)
            if outcome is Outcome.BOUND:
                self._reporter.scheduled(pod, node_name)
            elif self._take_back(pod, node_name):
                self._log.info("not_bound", pod=str(pod.key), node=node_name, cause=message)
                self._reporter.failed(pod, SCHEDULER_ERROR, f"binding rejected: {message}")
        except LeadershipLostError:
            raise
        except Exception:  # noqa: BLE001 - one Pod must not stop the others
            self._log.exception("binding_failed", pod=str(pod.key), node=node_name)
            self._take_back(pod, node_name)
        finally:
            self._bindings.release()

    def _take_back(self, pod: PodInfo, node_name: str) -> bool:
        """The Pod does not go there: free what it took. False where it is not on its way."""
        for plugin in reversed(self._profile.reserves):
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
