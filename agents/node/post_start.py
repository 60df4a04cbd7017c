"""postStart hooks that run: one task each, so that nothing else of the Pod waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.node.hooks import run_hook
from agents.node.plan import Unhealthy
from agents.node.probe_handlers import Execute
from kubraft.api.object import Object, uid_of
from kubraft.api.time import Clock
from kubraft.client.events import EventRecorder
from kubraft.log import get_logger

# They have no time limit upstream; a bound nevertheless, for hooks that will never end.
_TIMEOUT_S = 24 * 3600.0

log = get_logger("node.hooks")


@dataclass(slots=True)
class _OfPod:
    running: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # by container id
    failed: dict[str, str] = field(default_factory=dict)  # container id -> why


class PostStartHooks:
    """Until its hook has ended a container does not count as running; a failed one is killed."""

    def __init__(
        self,
        recorder: EventRecorder,
        clock: Clock,
        execute: Callable[[str], Execute],
        again: Callable[[str], None],
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._execute = execute
        self._again = again
        self._pods: dict[str, _OfPod] = {}

    def begin(
        self, pod: Object, container: Mapping[str, Any], container_id: str, address: str
    ) -> None:
        """Run the hook of a container that has just been started, if it has one."""
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            work = self._run(pod, container, container_id, hook, address)
            of_pod = self._pods.setdefault(uid_of(pod), _OfPod())
            of_pod.running[container_id] = asyncio.create_task(work)

    def running(self, uid: str) -> frozenset[str]:
        """The containers of a Pod whose hook has not ended."""
        of_pod = self._pods.get(uid)
        return frozenset(of_pod.running) if of_pod else frozenset()

    def failed(self, uid: str) -> dict[str, str]:
        """The containers of a Pod whose hook has failed, and why."""
        of_pod = self._pods.get(uid)
        return dict(of_pod.failed) if of_pod else {}

    def unhealthy(self, uid: str) -> dict[str, Unhealthy]:
        """The same for a plan."""
        failure = Unhealthy("FailedPostStartHook", exact=True, crashed=True)
        return dict.fromkeys(self.failed(uid), failure)

    def forget(self, uid: str) -> None:
        """The Pod ends, or is gone: its hooks end too."""
        of_pod = self._pods.pop(uid, None)
        for task in of_pod.running.values() if of_pod else ():
            task.cancel()

    async def close(self) -> None:
        """Stop all hooks."""
        tasks = [task for of_pod in self._pods.values() for task in of_pod.running.values()]
        for uid in list(self._pods):
            self.forget(uid)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(
        self,
        pod: Object,
        container: Mapping[str, Any],
        container_id: str,
        hook: Mapping[str, Any],
        address: str,
    ) -> None:
        uid = uid_of(pod)
        cause = await run_hook(
            hook,
            container,
            pod,
            address,
            _TIMEOUT_S,
            execute=self._execute(container_id),
            clock=self._clock,
        )
        of_pod = self._pods[uid]
        del of_pod.running[container_id]
        if cause:
            log.warning("postStart hook failed", pod_uid=uid, cause=cause)
            of_pod.failed[container_id] = cause
            path = f"spec.containers{{{container['name']}}}"
            # Without the cause, as upstream: what a server answers may be secret.
            self._recorder.event(
                pod, "Warning", "FailedPostStartHook", "PostStartHook failed", field_path=path
            )
        self._again(uid)
