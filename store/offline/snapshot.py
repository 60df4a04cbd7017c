"""A snapshot as `etcdctl snapshot save` leaves it: a database, and its SHA-256 behind it.

Source: etcd, etcdutl/snapshot (v3_snapshot.go).
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

DIGEST_BYTES = 32
# Databases consist of pages, so a file that is longer by a digest has one.
_SECTOR = 512
_CHUNK_BYTES = 1 << 20
# Source: LMDB, mdb.c (MDB_page, MDB_meta); bbolt, db.go (meta).
_META_AT = 16
_LMDB_MAGIC = 0xBEEFC0DE
_BOLT_MAGIC = 0xED0CDAED


class SnapshotError(Exception):
    """A file is not what it should be; one line, in etcd's words where it has some."""


def copy_verified(source: Path, target: Path, *, skip_hash_check: bool) -> None:
    """Copy the database within a snapshot to `target`, which is new.

    Raises:
        SnapshotError: its digest is missing or does not match, or it is no database of a store.
        OSError: a file cannot be read or written.
    """
    with source.open("rb") as snapshot:
        size = snapshot.seek(0, 2)
        has_digest = size % _SECTOR == DIGEST_BYTES
        if not has_digest and not skip_hash_check:
            raise SnapshotError("snapshot missing hash but --skip-hash-check=false")
        left = size - DIGEST_BYTES if has_digest else size
        snapshot.seek(0)
        digest = hashlib.sha256()
        with target.open("xb") as copy:
            while chunk := snapshot.read(min(_CHUNK_BYTES, left)):
                digest.update(chunk)
                copy.write(chunk)
                left -= len(chunk)
        expected = snapshot.read(DIGEST_BYTES)
    if has_digest and not skip_hash_check and expected != digest.digest():
        raise SnapshotError(f"expected sha256 {expected.hex()}, got {digest.hexdigest()}")


def is_lmdb(path: Path) -> bool:
    return _magic(path) == _LMDB_MAGIC


def is_bolt(path: Path) -> bool:
    return _magic(path) == _BOLT_MAGIC


def _magic(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(_META_AT + 4)
    return int(struct.unpack_from("<I", head, _META_AT)[0]) if len(head) == _META_AT + 4 else 0
