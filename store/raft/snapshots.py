"""A member's snapshots: made for peers that lag, received from leaders, and installed.

Shell code. One stream a peer at a time; a stream that failed is tried again after a pause.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kubraft.log import get_logger
from store.directory import make_directory
from store.figures import FIGURES
from store.raft.engine import StateMachine
from store.raft.framing import PURPOSE_SNAPSHOT, frame
from store.raft.link import Caller, dial
from store.raft.membership import Members
from store.raft.messages import InstallSnapshot
from store.raft.snapshot_stream import file_name, receive_snapshot, send_snapshot

log = get_logger("store.raft")

_PAUSE_S = 1.0
_BUSY_S = 0.01


class Snapshots:
    """See the module docstring; used on the event loop only."""

    def __init__(
        self,
        directory: Path,
        state_machine: StateMachine,
        caller: Caller,
        *,
        members_at: Callable[[int], Members],
        on_received: Callable[[int, InstallSnapshot], None],
    ) -> None:
        make_directory(directory)
        self._directory = directory
        self._state_machine = state_machine
        self._caller = caller
        self._members_at = members_at
        self._on_received = on_received
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._under_way = 0
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="raft-snapshot")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="raft-install")
        self._count = 0

    @property
    def streaming(self) -> bool:
        """Whether the log must stay as it is; not so in the pause after an attempt that failed."""
        return self._under_way > 0

    def stream(self, peer: int, url: str, term: int) -> None:
        """Begin to stream to `peer` unless that is under way."""
        if peer not in self._streams:
            task = asyncio.create_task(
                self._stream(peer, url, term), name=f"raft snapshot to {peer:x}"
            )
            self._streams[peer] = task

    async def receive(
        self, peer: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take a snapshot that `peer` streams on a connection of its own."""
        try:
            with FIGURES.snapshots_received[peer].one():
                head = await receive_snapshot(self._directory, self._temporary(), reader)
        except (OSError, ValueError) as error:
            writer.write(frame((str(error) or type(error).__name__).encode()[:512]))
            await writer.drain()
            raise
        log.info("snapshot received", peer=f"{peer:x}", index=head.index, term=head.snapshot_term)
        self._on_received(peer, head)
        writer.write(frame(b"\0"))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    def find(self, index: int, term: int) -> Path | None:
        """The received snapshot of `index`, where there is one."""
        path = self._directory / file_name(index, term)
        return path if path.exists() else None

    async def install(self, index: int, term: int) -> None:
        """Let the state machine take over a received snapshot, read in a thread of its own.

        Raises:
            OSError, ValueError: the file is damaged, or not the one that the log starts at.
        """
        path = self._directory / file_name(index, term)
        FIGURES.installing += 1
        try:
            await self._install(path, index, term)
        finally:
            FIGURES.installing -= 1
        log.info("snapshot installed", index=index, term=term)

    async def _install(self, path: Path, index: int, term: int) -> None:
        loop = asyncio.get_running_loop()
        read = await loop.run_in_executor(self._reader, self._state_machine.read_snapshot, path)
        while (installed := self._state_machine.install_snapshot(path, read)) is None:  # noqa: ASYNC110  # the end of a flush is no event
            await asyncio.sleep(_BUSY_S)
        if installed != (index, term):
            raise ValueError(f"{path}: holds the state at {installed}, not at {(index, term)}")
        self.discard(index, term)

    def discard(self, index: int, term: int) -> None:
        (self._directory / file_name(index, term)).unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove what an earlier run left behind and nobody needs."""
        for path in self._directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    async def close(self) -> None:
        tasks = list(self._streams.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A snapshot that is being made reads the state, which is about to be closed.
        await asyncio.to_thread(self._maker.shutdown)
        await asyncio.to_thread(self._reader.shutdown)

    async def _stream(self, peer: int, url: str, term: int) -> None:
        path = self._directory / self._temporary()
        self._under_way += 1
        try:
            with FIGURES.snapshots_sent[peer].one():
                await self._make_and_send(peer, url, term, path)
        except Exception as error:  # noqa: BLE001  # whatever it is, the peer is tried again
            cause = str(error) or type(error).__name__
            log.warning("snapshot not sent", peer=f"{peer:x}", cause=cause)
        finally:
            self._under_way -= 1
            path.unlink(missing_ok=True)
        try:
            await asyncio.sleep(_PAUSE_S)
        finally:
            self._streams.pop(peer, None)

    async def _make_and_send(self, peer: int, url: str, term: int, path: Path) -> None:
        loop = asyncio.get_running_loop()
        save = self._state_machine.save_snapshot
        index, snapshot_term = await loop.run_in_executor(self._maker, save, path)
        members = self._members_at(index)
        head = InstallSnapshot(term, 0, int(index), int(snapshot_term), members)
        reader, writer = await dial(self._caller, peer, url, PURPOSE_SNAPSHOT)
        try:
            await send_snapshot(head, path, reader, writer)
        finally:
            writer.transport.abort()
        log.info("snapshot sent", peer=f"{peer:x}", index=index, term=snapshot_term)

    def _temporary(self) -> str:
        self._count += 1
        return f"{self._count}.tmp"
