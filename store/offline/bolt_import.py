"""The state in a database of etcd's, taken over into one of ours.

Keys with their history, revisions, leases, users and roles come over; a lease begins its time
anew. Source: etcd, server/storage/schema (bucket.go, auth.go), server/storage/mvcc (revision.go).
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import lmdb

from kubraft.pb.authpb.auth_pb2 import Role, User
from kubraft.pb.etcdserverpb.rpc_pb2 import LeaseCheckpoint
from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from store.mvcc.auth.state import AuthState
from store.mvcc.backend import Backend
from store.mvcc.lessor import Lease, LeaseID
from store.mvcc.revision import pack
from store.mvcc.store import META_COMPACTED, META_REVISION, NEVER_COMPACTED, REVISION_FIRST
from store.offline.bolt import BoltError, BoltFile
from store.offline.snapshot import SnapshotError

_REVISION = struct.Struct(">QcQ")
_TOMBSTONE = b"t"
_FLUSH_BYTES = 16 << 20
_MAP_BYTES_EXTRA = 1 << 30


def convert(source: Path, directory: Path) -> None:
    """Make a database in `directory` of the bbolt file at `source`; flushed.

    Raises:
        SnapshotError: the file is damaged.
        OSError: it cannot be read or written.
    """
    size = source.stat().st_size
    backend = Backend(directory, map_bytes=4 * size + _MAP_BYTES_EXTRA)
    try:
        with source.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        _Import(BoltFile(content), backend).run()
    except (BoltError, struct.error, ValueError) as error:
        raise SnapshotError(f"snapshot file integrity check failed: {error}") from error
    except lmdb.Error as error:
        raise SnapshotError(f"{directory}: {error}") from error
    finally:
        backend.close()


class _Import:
    def __init__(self, bolt: BoltFile, backend: Backend) -> None:
        self._bolt = bolt
        self._backend = backend
        self._buckets = bolt.buckets()
        if b"key" not in self._buckets:
            raise BoltError("no bucket of keys")

    def run(self) -> None:
        compacted = self._compacted()
        # Above what was compacted nothing may be left; then that is the revision.
        revision = max(self._keys(), compacted, REVISION_FIRST)
        self._leases()
        self._auth()
        self._backend.set_meta(META_REVISION, b"%d" % revision)
        self._backend.set_meta(META_COMPACTED, b"%d" % compacted)
        self._backend.flush()

    def _pairs(self, name: bytes) -> list[tuple[bytes, bytes]]:
        bucket = self._buckets.get(name)
        if bucket is None:
            return []
        return [(key, bytes(value)) for key, value in self._bolt.pairs(bucket)]

    def _keys(self) -> int:
        """Takes over all records; returns the newest main revision."""
        newest = 0
        for key, value in self._bolt.pairs(self._buckets[b"key"]):
            main, _, sub = _REVISION.unpack_from(key)
            newest = max(newest, main)
            if not value:  # left by a restore that bumped the revision
                continue
            tombstone = key[_REVISION.size :] == _TOMBSTONE
            record = bytes(value)
            if tombstone:
                record = KeyValue(
                    key=KeyValue.FromString(record).key, mod_revision=main
                ).SerializeToString()
            self._backend.put(pack(main, sub, tombstone=tombstone), record)
            if self._backend.pending_bytes > _FLUSH_BYTES:
                self._backend.flush()
        return newest

    def _compacted(self) -> int:
        found = [NEVER_COMPACTED]
        for name, value in self._pairs(b"meta"):
            if name in {b"finishedCompactRev", b"scheduledCompactRev"}:
                found.append(_REVISION.unpack_from(value)[0])
        return max(found)

    def _leases(self) -> None:
        for key, value in self._pairs(b"lease"):
            number = int.from_bytes(key, "big", signed=True)
            # The first two fields of etcd's leasepb.Lease, which this message has too.
            ttl_s = LeaseCheckpoint.FromString(value).remaining_TTL
            lease = Lease(LeaseID(number), ttl_s, 0)
            self._backend.set_lease(number, lease.encode())

    def _auth(self) -> None:
        state = AuthState(self._backend)
        for _, value in self._pairs(b"authUsers"):
            state.put_user(User.FromString(value))
        for _, value in self._pairs(b"authRoles"):
            state.put_role(Role.FromString(value))
        auth = dict(self._pairs(b"auth"))
        if b"authRevision" in auth:
            state.set_revision(int.from_bytes(auth[b"authRevision"], "big"))
        if auth.get(b"authEnabled") == b"\x01":
            state.set_enabled(enabled=True)
