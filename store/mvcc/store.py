"""The key-value store of one member at one revision, and the transaction that moves it on.

A transaction cannot fail half-way: whoever opens one has checked before that all of it can be done.
Nothing here knows time, chance or the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from store.figures import FIGURES
from store.mvcc.backend import Backend
from store.mvcc.errors import CompactedError, FutureRevisionError
from store.mvcc.event import KvEvent
from store.mvcc.key_index import KeyIndex
from store.mvcc.lessor import Lease, Lessor
from store.mvcc.revision import PackedRevision, Revision, floor, pack, pack_tombstones
from store.mvcc.wire import field_bytes, field_varint

# An empty store is at revision 1; nothing was compacted yet. Source: etcd, server/storage/mvcc.
REVISION_FIRST = 1
NEVER_COMPACTED = -1

META_REVISION = b"revision"
META_COMPACTED = b"compacted"


class Reply(NamedTuple):
    """An etcd response without its header: the revision for it, and all other fields encoded."""

    revision: Revision
    body: bytes


class MvccStore:
    """Keys with their history, and leases."""

    def __init__(self, backend: Backend) -> None:
        """Raises OSError, lmdb.Error: the backend is not what was written to it."""
        self.backend = backend
        backend.verify()
        self.load()

    def load(self) -> None:
        """Rebuild index and lessor from what the backend has flushed."""
        backend = self.backend
        self.revision = Revision(_read_int(backend, META_REVISION, REVISION_FIRST))
        self.compacted = Revision(_read_int(backend, META_COMPACTED, NEVER_COMPACTED))
        leases: dict[bytes, int] = {}

        def keys() -> Iterator[tuple[PackedRevision, bytes]]:
            for packed, record in backend.records(PackedRevision(0)):
                kv = KeyValue.FromString(record)
                if kv.lease:
                    leases[kv.key] = kv.lease
                else:
                    leases.pop(kv.key, None)
                yield packed, kv.key

        self.index = KeyIndex.load(keys())
        self.lessor = Lessor.load(backend.leases(), leases.items())
        self.events: list[KvEvent] = []
        # Keys with history that the compaction under way has still to look at.
        self.compaction_queue: list[bytes] = []
        if self.compacted > NEVER_COMPACTED:
            self.compaction_queue = self.index.with_history()

    def take_over(self, other: MvccStore) -> None:
        """Become what `other` is, which was loaded from a copy of this store's backend."""
        vars(self).update({name: part for name, part in vars(other).items() if name != "backend"})

    def save_meta(self) -> None:
        self.backend.set_meta(META_REVISION, b"%d" % self.revision)
        self.backend.set_meta(META_COMPACTED, b"%d" % self.compacted)

    def check_revision(self, main: int) -> None:
        """Refuse a read at `main`, which is above zero, if history does not reach there."""
        if main > self.revision:
            raise FutureRevisionError
        if main < self.compacted:
            raise CompactedError

    def find(self, key: bytes) -> bytes | None:
        """The living record of `key`."""
        packed = self.index.live(key)
        return None if packed is None else self.backend.get(packed)

    def find_at(self, key: bytes, main: int) -> bytes | None:
        """The record of `key` at `main`; None also when compaction has taken it."""
        if main < self.compacted:
            return None
        packed = self.index.at(key, main)
        return None if packed is None else self.backend.find(packed)

    def history(self, start: int) -> Iterator[KvEvent]:
        """Events from main revision `start` on; `start` must not be below `compacted`."""
        assert start >= self.compacted
        for packed, record in self.backend.records(floor(start)):
            yield KvEvent(packed, KeyValue.FromString(record).key, record)

    def take_events(self) -> list[KvEvent]:
        """Events since the last call, in order."""
        events, self.events = self.events, []
        return events

    def save_lease(self, lease: Lease) -> None:
        self.backend.set_lease(lease.id, lease.encode())


def _read_int(backend: Backend, name: bytes, default: int) -> int:
    value = backend.meta(name)
    return default if value is None else int(value)


class Transaction:
    """Changes that share one main revision; `end` makes it the store's.

    Reads of the living state in between see the changes, as etcd's do.
    """

    __slots__ = ("_main", "_store", "_sub")

    def __init__(self, store: MvccStore) -> None:
        self._store = store
        self._main = store.revision + 1
        self._sub = 0

    @property
    def revision(self) -> Revision:
        """The revision a response within the transaction shows: the new one once changed."""
        return Revision(self._main) if self._sub else self._store.revision

    def put(self, key: bytes, value: bytes, lease: int) -> None:
        store, main = self._store, self._main
        packed = pack(main, self._sub)
        self._sub += 1
        FIGURES.puts += 1
        FIGURES.put_bytes += len(key) + len(value)
        before = store.index.put(key, packed)
        if before is None:
            kv = KeyValue()
            kv.key, kv.create_revision = key, main
        else:
            kv = KeyValue.FromString(store.backend.get(before))
        kv.mod_revision = main
        kv.version += 1
        kv.value = value
        if kv.lease != lease:
            store.lessor.detach((key,))
            kv.lease = lease
        if lease:
            store.lessor.attach(lease, key)
        record = kv.SerializeToString()
        store.backend.put(packed, record)
        store.events.append(KvEvent(packed, key, record))

    def delete(self, keys: Sequence[bytes]) -> None:
        """End the lives of `keys`, which are living, in ascending order and each named once.

        There may be all keys of the store, so what they were is not read for it.
        """
        if not keys:
            return
        store = self._store
        packed = pack_tombstones(self._main, self._sub, len(keys))
        self._sub += len(keys)
        FIGURES.deletes += len(keys)
        store.lessor.detach(keys)
        # A KeyValue that has a key and a mod_revision only.
        mod_revision = field_varint(3, self._main)
        records = [field_bytes(1, key) + mod_revision for key in keys]
        store.backend.put_many(packed, records)
        store.events.extend(map(KvEvent, packed, keys, records))
        store.index.tombstones(keys, packed)

    def end(self) -> Revision:
        """Close the transaction; returns the store's revision after it."""
        FIGURES.txns += self._sub > 1
        self._store.revision = self.revision
        return self._store.revision
