"""Hashes by which members are compared: equal history, equal hash, however far clearing up is.

The figure is ours: etcd hashes its own file format, so it is comparable between our members only.
"""

from __future__ import annotations

from itertools import islice
from zlib import crc32

from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from store.mvcc.revision import PackedRevision, Revision, main_of, to_bytes
from store.mvcc.store import MvccStore

# Records in one step: about a millisecond, or some where a compaction has been.
_STEP_RECORDS = 500


class HistoryHash:
    """CRC-32 of all history up to a revision that compaction keeps, taken step by step.

    Between steps the store may change: history does not, and after a compaction the hash begins
    anew.
    """

    def __init__(self, store: MvccStore, revision: int = 0) -> None:
        """`revision` 0 is now; below zero there is no history, so the hash is that of nothing.

        Raises:
            CompactedError, FutureRevisionError: history does not reach `revision`.
        """
        self._store = store
        self._asked = revision
        self._begin()

    def _begin(self) -> None:
        store = self._store
        self.revision = Revision(self._asked or store.revision)
        if self.revision > 0:
            store.check_revision(self.revision)
        self.compacted = store.compacted
        self.figure = 0
        self._next = PackedRevision(0)

    def step(self, records: int = _STEP_RECORDS) -> bool:
        """Take in up to `records` more; returns whether there is more to do.

        Raises:
            CompactedError: history does not reach the revision any more.
        """
        store = self._store
        if store.compacted != self.compacted:
            self._begin()
        figure, seen = self.figure, 0
        for packed, record in islice(store.backend.records(self._next), records):
            if main_of(packed) > self.revision:
                break
            seen += 1
            self._next = PackedRevision(packed + 1)
            if main_of(packed) <= self.compacted:
                key = KeyValue.FromString(record).key
                if not store.index.is_visible(key, packed, self.compacted):
                    continue
            figure = crc32(record, crc32(to_bytes(packed), figure))
        self.figure = figure
        return seen == records


def hash_kv(store: MvccStore, revision: int = 0) -> tuple[int, int]:
    """The whole hash at once, and the revision it is of; raises what `HistoryHash` does."""
    run = HistoryHash(store, revision)
    while run.step():
        pass
    return run.figure, run.revision
