"""The key-value machine as the engine sees it, with word of what was applied for the housekeeping.

The one place that knows both sides, so that `store.mvcc` need not know consensus.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from store.figures import FIGURES
from store.mvcc.command import Kind
from store.mvcc.lease_expiry import LeaseExpiry
from store.mvcc.machine import KvMachine
from store.mvcc.store import MvccStore
from store.raft.engine import Command, LogIndex, Term

# Source: etcd, server/etcdserver (warnApplyDuration).
_SLOW_APPLY_S = 0.1
# A buffer of this size is flushed without waiting for the interval.
_FLUSH_BYTES = 16 << 20
# What etcd calls them in its figures; its log has no keep-alives.
_OPERATIONS = {
    Kind.PUT: "Put",
    Kind.DELETE_RANGE: "DeleteRange",
    Kind.TXN: "Txn",
    Kind.COMPACT: "Compaction",
    Kind.LEASE_GRANT: "LeaseGrant",
    Kind.LEASE_REVOKE: "LeaseRevoke",
    Kind.LEASE_KEEP_ALIVE: "LeaseKeepAlive",
    Kind.LEASE_EXPIRE: "LeaseRevoke",
    Kind.PUBLISH: "ClusterMemberAttrSet",
    Kind.ALARM: "Alarm",
    Kind.AUTH_ENABLE: "AuthEnable",
    Kind.AUTH_DISABLE: "AuthDisable",
    Kind.AUTHENTICATE: "Authenticate",
    Kind.USER_ADD: "AuthUserAdd",
    Kind.USER_DELETE: "AuthUserDelete",
    Kind.USER_CHANGE_PASSWORD: "AuthUserChangePassword",
    Kind.USER_GRANT_ROLE: "AuthUserGrantRole",
    Kind.USER_REVOKE_ROLE: "AuthUserRevokeRole",
    Kind.ROLE_ADD: "AuthRoleAdd",
    Kind.ROLE_DELETE: "AuthRoleDelete",
    Kind.ROLE_GRANT_PERMISSION: "AuthRoleGrantPermission",
    Kind.ROLE_REVOKE_PERMISSION: "AuthRoleRevokePermission",
}


class StoreStateMachine:
    """Implements `store.raft.engine.StateMachine`."""

    def __init__(self, machine: KvMachine, expiry: LeaseExpiry) -> None:
        self._machine = machine
        machine.on_applied = self._count
        # When the last command was done, or the batch it is in began.
        self._done_at = 0.0
        self._expiry = expiry
        # Set by every apply; the flush and compaction tasks wait for it.
        self.applied = asyncio.Event()
        # Set where the log cannot shrink before what is applied is flushed, and where much is.
        self.flush_wanted = asyncio.Event()

    def durable_index(self) -> tuple[LogIndex, Term]:
        return _typed(self._machine.durable_index())

    def apply(self, commands: Sequence[Command]) -> list[object]:
        now = asyncio.get_running_loop().time
        began = now()
        self._done_at = time.perf_counter()
        results = self._machine.apply(commands)
        FIGURES.slow_applies += now() - began > _SLOW_APPLY_S
        self._note_leases()
        self.applied.set()
        if self._machine.backend.pending_bytes > _FLUSH_BYTES:
            self.flush_wanted.set()
        return results

    def persist(self) -> tuple[LogIndex, Term]:
        return _typed(self._machine.persist())

    def persist_soon(self) -> None:
        self.flush_wanted.set()
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

    def _count(self, kind: Kind, done: bool) -> None:  # noqa: FBT001  # called by place
        before, self._done_at = self._done_at, time.perf_counter()
        FIGURES.applied(_OPERATIONS[kind], self._done_at - before, done=done)

    def _note_leases(self) -> None:
        lessor = self._machine.store.lessor
        changed = lessor.take_changed()
        if changed:
            self._expiry.refresh(lessor, changed, now=asyncio.get_running_loop().time())


def _typed(position: tuple[int, int]) -> tuple[LogIndex, Term]:
    return LogIndex(position[0]), Term(position[1])
