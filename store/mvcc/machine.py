"""The state machine: commands of the log in, replies and KV events out.

Equal on every member: nothing here reads a clock, chance or the order of a set. It satisfies what
`store.raft.engine` asks of a state machine without knowing it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from kubraft.pb.etcdserverpb.rpc_pb2 import AlarmRequest, CompactionRequest, Member
from store.mvcc import command, compaction, delete_range, lease, put, snapshot_file, txn
from store.mvcc.alarms import Alarms
from store.mvcc.auth.check import CommandCheck
from store.mvcc.auth.commands import AuthCommands, Handler
from store.mvcc.auth.state import AuthState
from store.mvcc.backend import Backend, Flush
from store.mvcc.command import DecodedCommand, Kind
from store.mvcc.errors import MvccError
from store.mvcc.event import KvEvent
from store.mvcc.store import MvccStore, Reply

META_APPLIED = b"applied"
META_MEMBER = b"member/"


class LogCommand(Protocol):
    """A committed command, as the engine hands it over."""

    @property
    def index(self) -> int: ...
    @property
    def term(self) -> int: ...
    @property
    def data(self) -> bytes: ...


class KvMachine:
    """Applies commands to a store, and says how much of it is durable."""

    def __init__(self, store: MvccStore) -> None:
        self.store = store
        # Called after every batch of commands with its events; and after a new state was taken.
        self.on_events: Callable[[list[KvEvent]], None] = lambda _: None
        self.on_replaced: Callable[[], None] = lambda: None
        # Called after each command with its kind, and whether it was done.
        self.on_applied: Callable[[Kind, bool], None] = lambda _kind, _done: None
        self._handlers: dict[Kind, Callable[[Any, int], Reply]] = {
            Kind.PUT: lambda request, _: put.put(store, request),
            Kind.DELETE_RANGE: lambda request, _: delete_range.delete_range(store, request),
            Kind.TXN: lambda request, _: txn.txn(store, request),
            Kind.COMPACT: lambda request, _: self._compact(request),
            Kind.LEASE_GRANT: lambda request, i: lease.grant(store, request, index=i),
            Kind.LEASE_REVOKE: lambda request, _: lease.revoke(store, request),
            Kind.LEASE_KEEP_ALIVE: lambda request, i: lease.keep_alive(store, request, index=i),
            Kind.LEASE_EXPIRE: lambda request, _: lease.expire(store, request),
            Kind.PUBLISH: lambda request, _: self._publish(request),
            Kind.ALARM: lambda request, _: self._alarm(request),
        }
        self.auth = AuthState(store.backend)
        self.auth_commands = AuthCommands(self.auth)
        for kind, handler in self.auth_commands.handlers.items():
            self._handlers[kind] = self._without_revision(handler)
        self._flushing = (0, 0)
        self._load()

    @classmethod
    def open(cls, directory: Path, *, map_bytes: int) -> KvMachine:
        """Open or create the state in `directory`.

        Raises:
            OSError, lmdb.Error: it cannot be opened, or is damaged.
        """
        return cls(MvccStore(Backend(directory, map_bytes=map_bytes)))

    def _load(self) -> None:
        raw = self.store.backend.meta(META_APPLIED)
        self._durable = cast("tuple[int, int]", tuple(map(int, raw.split()))) if raw else (0, 0)
        self._applied = self._durable
        self.members: dict[int, Member] = {}
        for _, value in self.store.backend.all_meta(META_MEMBER):
            member = Member.FromString(value)
            self.members[member.ID] = member
        self.alarms = Alarms(self.backend)

    @property
    def backend(self) -> Backend:
        return self.store.backend

    # What the engine asks.

    def durable_index(self) -> tuple[int, int]:
        return self._durable

    def applied_index(self) -> tuple[int, int]:
        return self._applied

    def apply(self, commands: Sequence[LogCommand]) -> list[object]:
        """Apply whole entries in log order; a refusal is returned as an MvccError."""
        results = [self._apply_one(one) for one in commands]
        if commands:
            self._applied = (commands[-1].index, commands[-1].term)
        if self.store.events:
            self.on_events(self.store.take_events())
        return results

    def _apply_one(self, one: LogCommand) -> object:
        try:
            decoded = command.decode(one.data)
        except MvccError as error:
            return error
        result = self._carry_out(decoded, one.index)
        self.on_applied(decoded.kind, isinstance(result, Reply))
        return result

    def _carry_out(self, decoded: DecodedCommand, index: int) -> Reply | MvccError:
        try:
            self.alarms.check(decoded)
            if self.auth.enabled:
                check = CommandCheck(self.auth, self.store.lessor, decoded.who)
                check.command(decoded.kind, decoded.request)
            return self._handlers[decoded.kind](decoded.request, index)
        except MvccError as error:
            return error

    def persist(self) -> tuple[int, int]:
        """Flush everything and wait for the disk.

        While a snapshot is being copied nothing is flushed, and the answer is what it was.
        """
        self._save_applied()
        if self.backend.flush():
            self._durable = self._applied
        return self._durable

    def begin_flush(self) -> Flush | None:
        """Begin a flush that is filled piece by piece, and committed in a worker thread.

        Followed by `end_flush`.
        """
        self._save_applied()
        self._flushing = self._applied
        return self.backend.begin_flush()

    def end_flush(self) -> None:
        """Raises OSError, lmdb.Error: the flush failed."""
        if self.backend.end_flush():
            self._durable = max(self._durable, self._flushing)

    def _save_applied(self) -> None:
        if self.backend.is_dirty or self._applied != self._durable:
            self.backend.set_meta(META_APPLIED, b"%d %d" % self._applied)
            self.store.save_meta()

    def save_snapshot(self, path: Path) -> tuple[int, int]:
        """Write the durable state to `path`; called in a worker thread."""
        return snapshot_file.write(self.backend, path)

    def read_snapshot(self, path: Path) -> MvccStore:
        """Check the snapshot file at `path` and rebuild its indices, beside the present state.

        Called in a worker thread; the file stays as it is.

        Raises:
            ValueError: the file is damaged.
        """
        snapshot_file.verify(path)
        with snapshot_file.opened(path, map_bytes=self.backend.map_bytes) as backend:
            return MvccStore(backend)

    def install_snapshot(self, path: Path, read: MvccStore | None = None) -> tuple[int, int] | None:
        """Take the state of the snapshot file at `path`, and the file.

        Args:
            path: the file.
            read: what `read_snapshot` made of it; without it, it is read here and now.

        Returns:
            The log index and term of the new state; None while the old one is being flushed or
            copied.

        Raises:
            ValueError: the file is damaged; the old state is kept.
        """
        if read is None:
            read = self.read_snapshot(path)
        if self.backend.is_busy:
            return None
        self.backend.replace(path)
        self.store.take_over(read)
        self.auth.load()
        self._load()
        self.on_replaced()
        return self._durable

    def close(self) -> None:
        self.backend.close()

    # Commands without a module of their own.

    def _without_revision(self, handler: Handler) -> Callable[[Any, int], Reply]:
        """A command that leaves the keys alone, so that the revision stays."""
        return lambda request, index: Reply(self.store.revision, handler(request, index))

    def _compact(self, request: CompactionRequest) -> Reply:
        return compaction.compact(self.store, request.revision)

    def _alarm(self, request: AlarmRequest) -> Reply:
        return Reply(self.store.revision, self.alarms.change(request).SerializeToString())

    def _publish(self, request: Member) -> Reply:
        self.members[request.ID] = request
        self.backend.set_meta(META_MEMBER + b"%016x" % request.ID, request.SerializeToString())
        return Reply(self.store.revision, b"")
