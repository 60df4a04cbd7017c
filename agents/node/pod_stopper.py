"""Stopping containers and sandboxes in the background: hooks, grace, and grace cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agents.node.action import StopContainer
from agents.node.cri_client import RuntimeCallError
from agents.node.hooks import run_hook
from agents.node.plan import container_spec
from agents.node.pod_memory import PodMemory, Stop
from agents.node.pod_parts import PodRuntime
from agents.node.probe_handlers import Execute
from kubraft.api.object import Object, uid_of
from kubraft.api.time import Clock
from kubraft.client.events import EventRecorder
from kubraft.log import get_logger

# After the hook has used up the grace period a program still gets this, as upstream.
_GRACE_AFTER_HOOK_S = 2.0

log = get_logger("node.stop")


class PodStopper:
    """Each stop is a task of this object; when one has ended the Pod is looked at again."""

    def __init__(
        self,
        runtime: PodRuntime,
        recorder: EventRecorder,
        clock: Clock,
        execute: Callable[[str], Execute],
        again: Callable[[str], None],
    ) -> None:
        self._runtime = runtime
        self._recorder = recorder
        self._clock = clock
        self._execute = execute
        self._again = again
        self._tasks: set[asyncio.Task[None]] = set()

    def stop_container(
        self, uid: str, memory: PodMemory, action: StopContainer, grace_s: float, address: str
    ) -> None:
        """Begin to stop a container."""
        pod = memory.pod
        if pod is not None:
            self._recorder.event(
                pod,
                "Normal",
                "Killing",
                action.message,
                field_path=f"spec.containers{{{action.name}}}",
            )
        work = self._stop_container(memory, action, grace_s, address)
        self._begin(uid, memory, action.id, grace_s, work)

    def stop_sandbox(self, uid: str, memory: PodMemory, sandbox_id: str) -> None:
        """Begin to stop a sandbox."""
        self._begin(uid, memory, sandbox_id, 0.0, self._runtime.stop_sandbox(sandbox_id))

    def shorten(self, uid: str, memory: PodMemory, grace_s: float) -> None:
        """A deletion with a shorter grace period has come: do not wait longer than that."""
        until_s = self._clock.monotonic_s() + grace_s
        for target, stop in list(memory.stopping.items()):
            if until_s < stop.until_s - 0.5:
                work = self._runtime.stop_container(target, grace_s)
                self._begin(uid, memory, target, grace_s, work)

    def _begin(self, uid: str, memory: PodMemory, target: str, grace_s: float, work: Any) -> None:
        until_s = self._clock.monotonic_s() + grace_s
        stop = memory.stopping.setdefault(target, Stop([], until_s))
        stop.until_s = min(stop.until_s, until_s)
        task = asyncio.create_task(self._finish(uid, memory, target, work))
        stop.tasks.append(task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, uid: str, memory: PodMemory, target: str, work: Any) -> None:
        try:
            await work
        except RuntimeCallError as error:
            log.warning("stop failed", target=target, cause=str(error))
            await self._clock.sleep(1.0)  # it is tried again after that
        finally:
            if stop := memory.stopping.pop(target, None):
                stop.ended.set()
            self._again(uid)

    async def _stop_container(
        self, memory: PodMemory, action: StopContainer, grace_s: float, address: str
    ) -> None:
        began_s = self._clock.monotonic_s()
        if memory.pod is not None and grace_s > 0:
            await self._pre_stop(memory.pod, action, grace_s, address)
        await self._turn(memory, action, began_s + grace_s)
        spent_s = self._clock.monotonic_s() - began_s
        left_s = grace_s - spent_s
        if grace_s > 0 and spent_s > 0.5:
            left_s = max(left_s, min(grace_s, _GRACE_AFTER_HOOK_S))
        await self._runtime.stop_container(action.id, max(0.0, left_s))

    async def _turn(self, memory: PodMemory, action: StopContainer, until_s: float) -> None:
        """Wait for those that are to end first, but not beyond the grace period."""
        first = [memory.stopping[i].ended for i in action.after if i in memory.stopping]
        if not first or (left_s := until_s - self._clock.monotonic_s()) <= 0:
            return
        waiting: asyncio.Future[Any] = asyncio.gather(*(event.wait() for event in first))
        alarm: asyncio.Future[Any] = asyncio.ensure_future(self._clock.sleep(left_s))
        try:
            await asyncio.wait({waiting, alarm}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            alarm.cancel()

    async def _pre_stop(
        self, pod: Object, action: StopContainer, grace_s: float, address: str
    ) -> None:
        try:
            container = container_spec(pod, action.name)
        except KeyError:
            return
        hook = (container.get("lifecycle") or {}).get("preStop")
        if not hook:
            return
        execute = self._execute(action.id)
        cause = await run_hook(
            hook, container, pod, address, grace_s, execute=execute, clock=self._clock
        )
        if cause:
            log.warning("preStop hook failed", pod_uid=uid_of(pod), cause=cause)
            self._recorder.event(
                pod,
                "Warning",
                "FailedPreStopHook",
                "PreStopHook failed",
                field_path=f"spec.containers{{{action.name}}}",
            )

    async def close(self) -> None:
        """Stop waiting for stops; the runtime goes on with what it has begun."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
