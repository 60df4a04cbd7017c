"""The key-value machine as the engine sees it, with word of what was applied for the housekeeping.

The one place that knows both sides, so that `store.mvcc` need not know consensus.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from store.figures import FIGURES
from store.mvcc.lease_expiry import LeaseExpiry
from store.mvcc.machine import KvMachine
from store.mvcc.store import MvccStore
from store.raft.engine import Command, LogIndex, Term

# Source: etcd, server/etcdserver (warnApplyDuration).
_SLOW_APPLY_S = 0.1


class StoreStateMachine:
    """Implements `store.raft.engine.StateMachine`."""

    def __init__(self, machine: KvMachine, expiry: LeaseExpiry) -> None:
        self._machine = machine
        self._expiry = expiry
        # Set by every apply; the flush and compaction tasks wait for it.
        self.applied = asyncio.Event()
        # Set where the log cannot shrink before what is applied is flushed.
        self.flush_wanted = False

    def durable_index(self) -> tuple[LogIndex, Term]:
        return _typed(self._machine.durable_index())

    def apply(self, commands: Sequence[Command]) -> list[object]:
        now = asyncio.get_running_loop().time
        began = now()
        results = self._machine.apply(commands)
        FIGURES.slow_applies += now() - began > _SLOW_APPLY_S
        self._note_leases()
        self.applied.set()
        return results

    def persist(self) -> tuple[LogIndex, Term]:
        return _typed(self._machine.persist())

    def persist_soon(self) -> None:
        self.flush_wanted = True
        self.applied.set()

    def save_snapshot(self, path: Path) -> tuple[LogIndex, Term]:
        return _typed(self._machine.save_snapshot(path))

    def read_snapshot(self, path: Path) -> object:
        return self._machine.read_snapshot(path)

    def install_snapshot(self, path: Path, read: object) -> tuple[LogIndex, Term] | None:
        assert isinstance(read, MvccStore)
        installed = self._machine.install_snapshot(path, read)
        if installed is None:
            return None
        self._note_leases()
        self.applied.set()
        return _typed(installed)

    def _note_leases(self) -> None:
        lessor = self._machine.store.lessor
        changed = lessor.take_changed()
        if changed:
            self._expiry.refresh(lessor, changed, now=asyncio.get_running_loop().time())


def _typed(position: tuple[int, int]) -> tuple[LogIndex, Term]:
    return LogIndex(position[0]), Term(position[1])
