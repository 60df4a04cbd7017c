"""The snapshot file: a copy of the database, a length and a checksum behind it.

database          as LMDB wrote it
8 bytes           magic
8 bytes           length of the database
4 bytes           CRC-32 of the database
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import lmdb

from store.mvcc.backend import FILE_NAME, Backend

_TRAILER = struct.Struct(">8sQI")
_MAGIC = b"kbrfsnp1"
TRAILER_BYTES = _TRAILER.size
_CHUNK_BYTES = 1 << 20


def write(backend: Backend, path: Path) -> tuple[int, int]:
    """Write a snapshot of the flushed state; returns the log index and term it is of.

    Blocks for the disk. Source of both figures is the copy itself, so they always belong to it.
    """
    backend.copy(path)
    size, checksum = _checksum(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(_TRAILER.pack(_MAGIC, size, checksum))
        file.flush()
        os.fsync(file.fileno())
    return applied_of(path)


def verify(path: Path) -> None:
    """Raises ValueError: the file is not whole."""
    size = path.stat().st_size - TRAILER_BYTES
    if size <= 0:
        raise ValueError(f"snapshot {path.name}: cut short")
    with path.open("rb") as file:
        file.seek(size)
        magic, length, checksum = _TRAILER.unpack(file.read(TRAILER_BYTES))
    if magic != _MAGIC or length != size:
        raise ValueError(f"snapshot {path.name}: cut short or not a snapshot")
    if _checksum(path, size)[1] != checksum:
        raise ValueError(f"snapshot {path.name}: checksum does not match")
    applied_of(path)


@contextmanager
def opened(path: Path, *, map_bytes: int) -> Iterator[Backend]:
    """The database of the snapshot at `path`, to be read only; what lies behind it is ignored."""
    directory = Path(tempfile.mkdtemp(prefix=f"{path.name}.", dir=path.parent))
    try:
        (directory / FILE_NAME).hardlink_to(path)
        backend = Backend(directory, map_bytes=map_bytes, readonly=True)
        try:
            yield backend
        finally:
            backend.close()
    finally:
        shutil.rmtree(directory)


def applied_of(path: Path) -> tuple[int, int]:
    """Log index and term of the database or snapshot at `path`.

    Raises:
        ValueError: it is no database of ours.
    """
    try:
        with lmdb.open(
            str(path), subdir=False, readonly=True, lock=False, max_dbs=4, create=False
        ) as env:
            database = env.open_db(b"meta", create=False)
            with env.begin(db=database) as txn:
                index, term = map(int, (txn.get(b"applied") or b"0 0").split())
                return index, term
    except lmdb.Error as error:
        raise ValueError(f"snapshot {path.name}: {error}") from error


def _checksum(path: Path, size: int) -> tuple[int, int]:
    checksum, left = 0, size
    with path.open("rb") as file:
        while left:
            chunk = file.read(min(_CHUNK_BYTES, left))
            if not chunk:
                raise ValueError(f"snapshot {path.name}: cut short")
            checksum = crc32(chunk, checksum)
            left -= len(chunk)
    return size, checksum
