"""The first processes of sandboxes whose containers see each other's processes.

Each is process 1 of a PID namespace that the sandbox's containers are born into, as the pause
container is elsewhere: it ends with the sandbox, and takes along whatever is left in there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from agents.runtime.launch import Launch
from agents.runtime.leftovers import MARKER
from agents.runtime.spawner import ContainerProcess, Nursery
from kubraft.log import get_logger

log = get_logger("runtime.sharing")


class SharedProcesses:
    """Owned by the runtime; all calls come from its event loop."""

    def __init__(self, nursery: Nursery, root: Path, on_end: Callable[[str], None]) -> None:
        """`on_end` gets the id of a sandbox whose first process ended without being told to."""
        self._nursery = nursery
        self._root = root
        self._on_end = on_end
        self._starts: dict[str, asyncio.Task[ContainerProcess]] = {}
        self._watches: set[asyncio.Task[None]] = set()

    async def ensure(self, sandbox_id: str, hostname: str, directory: Path) -> None:
        """Have the sandbox's first process run; `directory` is the sandbox's own.

        Raises:
            SpawnError: it could not be started.
            NurseryGoneError: nothing can be started any more.
        """
        start = self._starts.get(sandbox_id)
        if start is None or (start.done() and not _runs(start)):
            start = asyncio.create_task(self._start(sandbox_id, hostname, directory))
            self._starts[sandbox_id] = start
        await asyncio.shield(start)

    async def _start(self, sandbox_id: str, hostname: str, directory: Path) -> ContainerProcess:
        root = directory / "root"
        root.mkdir(parents=True, exist_ok=True)
        launch = Launch(
            argv=(),
            env={MARKER: str(self._root)},
            cwd="/",
            builtin="pause",
            isolated=True,
            sandbox=True,
            root=str(root),
            hostname=hostname,
        )
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        launch_fd = launch.to_memory_file()
        try:
            process = await self._nursery.spawn(sandbox_id, (launch_fd, null, null, null))
        finally:
            os.close(launch_fd)
            os.close(null)
        watch = asyncio.create_task(self._watch(sandbox_id, process))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return process

    async def _watch(self, sandbox_id: str, process: ContainerProcess) -> None:
        await process.exited
        if self._starts.pop(sandbox_id, None) is not None:
            log.warning("a sandbox's first process ended", sandbox_id=sandbox_id)
            self._on_end(sandbox_id)

    async def end(self, sandbox_id: str) -> None:
        """End the sandbox's first process, where there is one, and all that is left with it."""
        start = self._starts.pop(sandbox_id, None)
        if start is None:
            return
        await asyncio.wait({start})
        if _runs(start):
            start.result().kill_all()
            await start.result().exited

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*(self.end(sandbox_id) for sandbox_id in list(self._starts)))


def _runs(start: asyncio.Task[ContainerProcess]) -> bool:
    failed = start.cancelled() or start.exception() is not None
    return not failed and not start.result().exited.done()
