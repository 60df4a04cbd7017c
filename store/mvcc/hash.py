"""Hashes by which members are compared: equal history, equal hash, however far clearing up is.

The figure is ours: etcd hashes its own file format, so it is comparable between our members only.
"""

from __future__ import annotations

from zlib import crc32

from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from store.mvcc.revision import PackedRevision, main_of, to_bytes
from store.mvcc.store import MvccStore


def hash_kv(store: MvccStore, revision: int = 0) -> tuple[int, int]:
    """CRC-32 of all history up to `revision` (0: now) that compaction keeps, and that revision.

    Below zero there is no history, so the hash is that of nothing.

    Raises:
        CompactedError, FutureRevisionError: history does not reach `revision`.
    """
    upto = revision or store.revision
    if upto > 0:
        store.check_revision(upto)
    checksum = 0
    for packed, record in store.backend.records(PackedRevision(0)):
        if main_of(packed) > upto:
            break
        if main_of(packed) <= store.compacted:
            key = KeyValue.FromString(record).key
            if not store.index.is_visible(key, packed, store.compacted):
                continue
        checksum = crc32(record, crc32(to_bytes(packed), checksum))
    return checksum, upto
