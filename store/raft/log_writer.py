"""Makes batches of the log durable for the event loop: in a thread, or in the loop itself.

A thread keeps a slow disk from holding up the loop. While the disk is quick, the way to the thread
and back costs more than the sync: two processes, both on the way of every write, each have to be
given a processor twice more. So a small batch is synced in the loop as long as the last syncs were
all quick; the first slow one sends those that follow to the thread again. What that one holds up is
what etcd's loop holds up for every sync, as it has no such thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from kubraft.log import get_logger
from store.raft.complaints import Complaints
from store.raft.log import Batch
from store.raft.messages import Entry
from store.raft.wal import Wal

# A batch of at most so much is worth a sync in the loop; more callers keep the loop busy anyhow.
IN_LOOP_BYTES_MAX = 6 << 10
# The disk counts as quick after so many syncs in a row that took no longer than this.
QUICK_S = 0.01
QUICK_SYNCS = 50
# A sync that takes longer is told of. Source: etcd, server/storage/wal (warnSyncDuration).
SLOW_S = 1.0

log = get_logger("store.raft")


class LogWriter:
    """One batch at a time; `on_written` gets the failure, or None, on the event loop."""

    def __init__(
        self,
        wal: Wal,
        on_written: Callable[[BaseException | None], None],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wal = wal
        self._on_written = on_written
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="raft-wal")
        self._quick_in_a_row = 0
        self._complaints = Complaints()

    def write(self, batch: Batch) -> None:
        """Make `batch` durable; `on_written` may be called before this returns."""
        if self._quick_in_a_row >= QUICK_SYNCS and _size(batch) <= IN_LOOP_BYTES_MAX:
            failure: BaseException | None = None
            try:
                self._write(batch)
            except Exception as error:  # noqa: BLE001  # the caller's to judge, as from the thread
                failure = error
            self._on_written(failure)
            return
        self._thread.submit(self._write, batch).add_done_callback(
            lambda written: self._loop.call_soon_threadsafe(self._tell, written)
        )

    async def close(self) -> None:
        """Let the batch under way end, and close the log."""
        await self._loop.run_in_executor(self._thread, self._wal.close)
        self._thread.shutdown()

    def _write(self, batch: Batch) -> None:
        began = self._now()
        self._wal.write(batch.items)
        now = self._now()
        took_s = now - began
        self._quick_in_a_row = self._quick_in_a_row + 1 if took_s <= QUICK_S else 0
        if took_s > SLOW_S and self._complaints.is_new("slow", now=now):
            log.warning("slow disk", detail="a sync of the log took long", took_s=round(took_s, 3))

    def _tell(self, written: Future[None]) -> None:
        self._on_written(written.exception())


def _size(batch: Batch) -> int:
    return sum(len(item.data) for item in batch.items if isinstance(item, Entry))
