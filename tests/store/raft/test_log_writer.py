"""Who writes the log when: a thread, or the event loop while the disk is quick."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from store.raft.disk import DiskDirectory
from store.raft.log import Batch, Item
from store.raft.log_writer import IN_LOOP_BYTES_MAX, QUICK_S, QUICK_SYNCS, SLOW_S, LogWriter
from store.raft.messages import Entry
from store.raft.wal import Identity, WalError, open_wal


class Bench:
    """A writer whose syncs take as long as `sync_s` says; records which thread made them."""

    def __init__(self, path: Path) -> None:
        self.sync_s = 0.0
        self.threads: list[threading.Thread] = []
        self.failures: list[BaseException | None] = []
        self._now = 0.0
        self._index = 1
        self._told = asyncio.Event()
        self.wal, _ = open_wal(DiskDirectory(path / "wal"), Identity(7, 1), {1: "http://a:1"})
        self._write_items = self.wal.write
        self.wal.write = self._write  # type: ignore[method-assign]
        self.writer = LogWriter(self.wal, self._on_written, now=lambda: self._now)

    def _write(self, items: Sequence[Item]) -> None:
        self.threads.append(threading.current_thread())
        self._write_items(items)
        self._now += self.sync_s

    def _on_written(self, failure: BaseException | None) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.failures.append(failure)
        self._told.set()

    async def write(self, size: int = 100) -> bool:
        """Whether it was the event loop that wrote an entry of `size` bytes."""
        self._index += 1
        self._told.clear()
        self.writer.write(Batch((Entry(b"x" * size, self._index, 1),), self._index, 1))
        await self._told.wait()
        return self.threads[-1] is threading.main_thread()

    async def become_quick(self) -> None:
        for _ in range(QUICK_SYNCS):
            await self.write()


async def test_small_batch_is_synced_in_the_loop_once_the_disk_has_proved_quick(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    assert not any([await bench.write() for _ in range(QUICK_SYNCS)])
    assert await bench.write()
    assert not await bench.write(IN_LOOP_BYTES_MAX + 1)
    assert set(bench.failures) == {None}
    await bench.writer.close()


async def test_slow_sync_sends_those_that_follow_to_the_thread(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.become_quick()
    bench.sync_s = 2 * QUICK_S
    assert await bench.write()
    assert not await bench.write()
    bench.sync_s = 0.0
    assert not any([await bench.write() for _ in range(QUICK_SYNCS)])
    assert await bench.write()
    await bench.writer.close()


async def test_slow_disk_is_told_of_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with capture_logs() as lines:
        await bench.write()
        bench.sync_s = SLOW_S + 0.5
        await bench.write()
        await bench.write()
    assert [(line["event"], line["took_s"]) for line in lines] == [("slow disk", SLOW_S + 0.5)]
    await bench.writer.close()


@pytest.mark.parametrize("quick", [False, True], ids=["in the thread", "in the loop"])
async def test_failure_is_told(tmp_path: Path, *, quick: bool) -> None:
    bench = Bench(tmp_path)
    if quick:
        await bench.become_quick()

    def full(name: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    bench.wal._directory.append = full  # type: ignore[method-assign]
    await bench.write()
    assert isinstance(bench.failures[-1], WalError)
    await bench.writer.close()
