"""The state in a snapshot, opened from a copy of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from store.mvcc.backend import FILE_NAME, Backend
from store.mvcc.snapshot_file import applied_of
from store.offline import bolt_import
from store.offline.snapshot import SnapshotError, copy_verified, is_bolt, is_lmdb

# Room to write what a restore changes.
_MAP_BYTES_EXTRA = 64 << 20


def unpack(snapshot: Path, directory: Path, *, skip_hash_check: bool) -> None:
    """Put the database of a snapshot, of ours or of etcd's, into `directory` as a member has it.

    Raises:
        SnapshotError: it is damaged or something else.
        OSError: a file cannot be read or written.
    """
    target = directory / FILE_NAME
    copy_verified(snapshot, target, skip_hash_check=skip_hash_check)
    if is_bolt(target):
        taken = target.rename(directory / "bolt")
        try:
            bolt_import.convert(taken, directory)
        finally:
            taken.unlink()
        return
    if not is_lmdb(target):
        raise SnapshotError(f"{snapshot}: not a database of a store")
    try:
        applied_of(target)
    except ValueError as error:
        raise SnapshotError(f"{snapshot}: not a database of this store") from error


@contextmanager
def opened(directory: Path) -> Iterator[Backend]:
    """The database in `directory`.

    Raises:
        SnapshotError: it cannot be opened or written.
    """
    size = (directory / FILE_NAME).stat().st_size
    try:
        backend = Backend(directory, map_bytes=2 * size + _MAP_BYTES_EXTRA)
        try:
            yield backend
        finally:
            backend.close()
    except lmdb.Error as error:
        raise SnapshotError(f"{directory / FILE_NAME}: {error}") from error


@contextmanager
def unpacked(snapshot: Path, *, skip_hash_check: bool) -> Iterator[Backend]:
    """The database of a snapshot, in a directory of its own that goes again.

    Raises:
        SnapshotError, OSError: see `unpack`.
    """
    with tempfile.TemporaryDirectory(prefix="kubraft-snapshot-") as name:
        directory = Path(name)
        unpack(snapshot, directory, skip_hash_check=skip_hash_check)
        with opened(directory) as backend:
            yield backend
