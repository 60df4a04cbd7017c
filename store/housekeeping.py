"""What a member does by itself: flush to disk, clear up after compactions, expire leases.

Each is one task of the member; a failure of a task is a failure of the member.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from kubraft.log import get_logger
from kubraft.pb.etcdserverpb.rpc_pb2 import CompactionRequest, LeaseCheckpoint
from store.auto_compaction import AutoCompactor
from store.beat import next_beat
from store.figures import FIGURES
from store.mvcc import command, compaction
from store.mvcc.command import Kind
from store.mvcc.lease_expiry import LeaseExpiry
from store.mvcc.machine import KvMachine
from store.raft.engine import Engine, EngineError, Role
from store.state_machine import StoreStateMachine

log = get_logger("store.housekeeping")

# Source: etcd, server/lease (look twice a second, expire at most so many at once).
_LEASE_POLL_S = 0.5
_EXPIRE_AT_ONCE = 500
_SNAPSHOT_PAUSE_S = 0.1
_COMPACTION_PAUSE_S = 0.002
_AUTO_COMPACTION_POLL_S = 30.0


class Housekeeping:
    def __init__(
        self,
        *,
        engine: Engine,
        machine: KvMachine,
        expiry: LeaseExpiry,
        state_machine: StoreStateMachine,
        flush_interval_s: float,
        election_s: float,
        auto_compactor: AutoCompactor | None,
    ) -> None:
        self._engine = engine
        self._machine = machine
        self._expiry = expiry
        self._state_machine = state_machine
        self._applied = state_machine.applied
        self._flush_interval_s = flush_interval_s
        self._election_s = election_s
        self._auto_compactor = auto_compactor
        # Leaders seen come, the first one too.
        self.leader_changes = 0
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="flush")

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            ExceptionGroup: of what went wrong, an OSError or lmdb.Error where it was the disk.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_flushed(), name="flush")
            tasks.create_task(self._expire_leases(), name="leases")
            if self._auto_compactor is not None:
                tasks.create_task(self._compact_history(self._auto_compactor), name="compaction")

    async def _keep_flushed(self) -> None:
        """Clear up after compactions and flush, some time after something was applied."""
        loop = asyncio.get_running_loop()
        while True:
            await self._applied.wait()
            self._applied.clear()
            await self._clear_up()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._flush_interval_s):
                    await self._state_machine.flush_wanted.wait()
            self._state_machine.flush_wanted.clear()
            flush = self._machine.begin_flush()
            if flush is not None:
                while flush.fill():  # noqa: ASYNC110  # not a wait: others have a turn
                    await asyncio.sleep(0)
                began = time.perf_counter()
                await loop.run_in_executor(self._disk, flush.commit)
                FIGURES.flush_s.observe(time.perf_counter() - began)
                self._machine.end_flush()
            elif self._machine.backend.is_dirty:
                # A snapshot is being copied; what is buffered waits for the next round.
                await asyncio.sleep(_SNAPSHOT_PAUSE_S)
                self._applied.set()

    async def _clear_up(self) -> None:
        store = self._machine.store
        if not store.compaction_queue:
            return
        began = time.perf_counter()
        while store.compaction_queue:
            step_began = time.perf_counter()
            compaction.step(store)
            FIGURES.compaction_step_ms.observe(1000 * (time.perf_counter() - step_began))
            await asyncio.sleep(_COMPACTION_PAUSE_S)
        FIGURES.compaction_ms.observe(1000 * (time.perf_counter() - began))
        FIGURES.compacted_at = time.time()

    async def _expire_leases(self) -> None:
        """As the leader, propose the end of leases; on every member, extend them when it changes.

        Proposals that fail are made again later by whoever leads then.
        """
        loop = asyncio.get_running_loop()
        while True:
            await next_beat(_LEASE_POLL_S)
            status, now = self._engine.status(), loop.time()
            lessor = self._machine.store.lessor
            leadership = None if status.leader is None else (status.term, status.leader)
            if self._expiry.follow(leadership, lessor, grace_s=self._election_s, now=now):
                self.leader_changes += 1
            if status.role is not Role.LEADER:
                continue
            overdue = self._expiry.overdue(lessor, now=now, limit=_EXPIRE_AT_ONCE)
            requests = [
                LeaseCheckpoint(ID=lease, remaining_TTL=renewed) for lease, renewed in overdue
            ]
            causes = [
                cause for cause in await asyncio.gather(*map(self._expire, requests)) if cause
            ]
            if causes:
                log.warning("leases not expired", count=len(causes), cause=causes[0])

    async def _expire(self, request: LeaseCheckpoint) -> str:
        """Why it could not be proposed; empty where it was."""
        try:
            data = command.encode(Kind.LEASE_EXPIRE, request.SerializeToString())
            await self._engine.propose(data)
        except EngineError as error:
            return str(error)
        return ""

    async def _compact_history(self, compactor: AutoCompactor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_AUTO_COMPACTION_POLL_S, compactor.interval_s))
            store = self._machine.store
            target = compactor.target(now=loop.time(), revision=store.revision)
            if target <= store.compacted or self._engine.status().role is not Role.LEADER:
                continue
            request = CompactionRequest(revision=target)
            try:
                await self._engine.propose(
                    command.encode(Kind.COMPACT, request.SerializeToString())
                )
            except EngineError as error:
                log.warning("compaction not proposed", revision=target, cause=str(error))

    def close(self) -> None:
        self._disk.shutdown()
