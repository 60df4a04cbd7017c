"""What wakes the Pods' reconciler: the runtime's event stream, and a slow look at all of it.

The stream says at once what changed; the slow look finds what the stream lost, and the Pods that
only the runtime knows. CRI does not promise the stream: a runtime without it (containerd before
1.7) is looked at every second instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc

from agents.node.cri_client import CriClient, RuntimeCallError
from agents.node.pod_view import POD_UID
from agents.node.runtime_health import DOWN
from agents.node.runtime_picture import RuntimePicture
from kubraft.api.time import Clock
from kubraft.log import get_logger

_RELIST_S = 60.0
_RECONNECT_S = 0.5
# Without a stream: as often as upstream's generic PLEG looks, and as its runtime check.
_POLL_S = 1.0

log = get_logger("node.runtime")


class LifecycleEvents:
    """Follows the runtime; `on_pod` gets the uid of each Pod that may have changed."""

    def __init__(
        self,
        runtime: CriClient,
        clock: Clock,
        on_pod: Callable[[str], None],
        on_break: Callable[[str], None],
        on_open: Callable[[], Awaitable[None]],
    ) -> None:
        """`on_break` gets why, when nobody is there to be followed; `on_open` ends that."""
        self._runtime = runtime
        self._clock = clock
        self._on_pod = on_pod
        self._on_break = on_break
        self._on_open = on_open

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._relist_now_and_then())

    async def _follow(self) -> None:
        while True:
            try:
                async for event in self._runtime.events():
                    if event is None:
                        await self._on_open()
                        await self.relist()
                    elif uid := event.pod_sandbox_status.labels.get(POD_UID):
                        self._on_pod(uid)
            except RuntimeCallError as error:
                if error.code == grpc.StatusCode.UNIMPLEMENTED:
                    log.info("the runtime has no event stream, looking every second")
                    await self._poll()
                log.warning("event stream of the runtime broke", cause=str(error))
                self._on_break(DOWN)
            await self._clock.sleep(_RECONNECT_S)

    async def _poll(self) -> None:
        """Compare what the runtime has with what it had, for ever."""
        old = RuntimePicture()
        down = False
        while True:
            try:
                if down:
                    await self._on_open()
                sandboxes, containers = await asyncio.gather(
                    self._runtime.sandboxes(), self._runtime.containers()
                )
                new = RuntimePicture.of(sandboxes, containers)
                for uid in sorted(new.changed_since(old)):
                    self._on_pod(uid)
                old, down = new, False
            except RuntimeCallError as error:
                if not down:
                    log.warning("the runtime does not answer", cause=str(error))
                down = True
                self._on_break(DOWN)
            await self._clock.sleep(_POLL_S)

    async def _relist_now_and_then(self) -> None:
        while True:
            await self._clock.sleep(_RELIST_S)
            try:
                await self.relist()
            except RuntimeCallError as error:
                log.warning("runtime does not list its sandboxes", cause=str(error))

    async def relist(self) -> None:
        """Have every Pod looked at that the runtime has anything of.

        Raises:
            RuntimeCallError: the runtime does not answer.
        """
        for sandbox in await self._runtime.sandboxes():
            if uid := sandbox.labels.get(POD_UID):
                self._on_pod(uid)
