"""Where records rest: LMDB on disk, and in front of it what is not yet flushed.

Durability is the write-ahead log's business. So a change goes into a buffer in memory, reads look
there first, and from time to time the whole buffer becomes one LMDB transaction together with the
log index it was applied at. That transaction is committed with a full sync, so a power loss leaves
either the state before it or the state after it, and the log is replayed from there.

A flush has two halves: `Flush.fill` brings the buffer into the LMDB transaction, on the event loop
and in pieces, so that others have their turns; and `Flush.commit`, which waits for the disk, may
run in a worker thread. Until both are done what is being flushed is still read from memory.

The environment is opened without LMDB's own locks, because its writer lock belongs to a thread and
a flush changes threads. What replaces it: the member locks its data directory; there is one writer
at a time (`_writer`); and the only long-lived reader is renewed before the next flush begins, so
that no writer reuses a page that a reader can see.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import lmdb

from store.directory import make_directory, sync_directory
from store.mvcc.digest import Part, changed, total, weigh
from store.mvcc.revision import PackedRevision, from_bytes, to_bytes

FILE_NAME = "db"
_DEFRAGMENTED_NAME = "db.defragmented"
_DATABASES = 4
# A flush is filled in pieces of so many items, but in about `_PIECES` at most: so it comes to an
# end however fast the next buffer grows.
_PIECE_ITEMS_MIN = 1000
_PIECES = 32
# A named value that is about all others: see `store.mvcc.digest`.
_META_DIGEST = b"digest"


class DamagedDatabaseError(OSError, ValueError):
    """What the database holds is not what was written to it."""


class Buffer:
    """Changes that are not in LMDB yet; `None` deletes."""

    __slots__ = ("approximate_bytes", "deleted", "leases", "meta", "records")

    def __init__(self) -> None:
        # Ascending: revisions only grow.
        self.records: dict[PackedRevision, bytes] = {}
        self.deleted: list[PackedRevision] = []
        self.leases: dict[int, bytes | None] = {}
        self.meta: dict[bytes, bytes | None] = {}
        self.approximate_bytes = 0

    def __bool__(self) -> bool:
        return bool(self.records or self.deleted or self.leases or self.meta)


class Flush:
    """One LMDB transaction, on its way to the disk."""

    def __init__(self, txn: lmdb.Transaction, pieces: Iterator[None]) -> None:
        self._txn = txn
        self._pieces = pieces
        self._lock = threading.Lock()
        self._is_over = False
        self.error: Exception | None = None

    def fill(self) -> bool:
        """Bring in another piece, on the event loop; whether there is more to bring in."""
        with self._lock:
            return self._fill()

    def _fill(self) -> bool:
        if self._is_over:
            return False
        try:
            next(self._pieces)
        except StopIteration:
            return False
        except (lmdb.Error, OSError) as error:
            self._txn.abort()
            self._end(error)
            return False
        return True

    def commit(self) -> None:
        """Bring in what is left, write and fsync, once; blocks; any thread.

        The outcome is told by `Backend.end_flush`.
        """
        with self._lock:
            while self._fill():
                pass
            if self._is_over:
                return
            try:
                self._txn.commit()
            except (lmdb.Error, OSError) as error:
                self._end(error)
            else:
                self._end(None)

    def _end(self, error: Exception | None) -> None:
        self.error = error
        self._is_over = True


class Backend:
    """Records by packed revision, leases by id, and a few named values."""

    def __init__(self, directory: Path, *, map_bytes: int, readonly: bool = False) -> None:
        """Open or create the database in `directory`.

        Raises:
            OSError, lmdb.Error: it cannot be opened.
        """
        self.directory = directory
        self.map_bytes = map_bytes
        self._readonly = readonly
        self._writer = threading.Lock()
        self._active = Buffer()
        self._flushing: Buffer | None = None
        self._flush: Flush | None = None
        # Why a flush failed: what it held is in no file, so that nothing may be flushed after it.
        self._failure: Exception | None = None
        # Flushes so far, to notice that a copy is no longer the newest state.
        self._generation = 0
        self._open()
        # Left by a crash in the middle of it.
        (self.directory / _DEFRAGMENTED_NAME).unlink(missing_ok=True)

    def _open(self) -> None:
        make_directory(self.directory)
        self._env = lmdb.open(
            str(self.directory / FILE_NAME),
            subdir=False,
            map_size=self.map_bytes,
            max_dbs=_DATABASES,
            readonly=self._readonly,
            mode=0o600,
            lock=False,
            readahead=True,
        )
        sync_directory(self.directory)
        create = not self._readonly
        self._records_db = self._env.open_db(b"key", create=create)
        self._leases_db = self._env.open_db(b"lease", create=create)
        self._meta_db = self._env.open_db(b"meta", create=create)
        self._reader = self._env.begin()
        told = self._reader.get(_META_DIGEST, db=self._meta_db)
        # Without one the database is from before there was any, or empty.
        self._digest = self._total() if told is None else int(told)
        self._page_bytes: int = self._env.stat()["psize"]
        self._last_page: int = self._env.info()["last_pgno"]

    def verify(self) -> None:
        """Read all that is flushed, and compare it with what was written; blocks.

        Raises:
            DamagedDatabaseError: it is something else. lmdb.Error: it cannot be read.
        """
        if self._total() != self._digest:
            raise DamagedDatabaseError(f"{FILE_NAME} is damaged: not what was written to it")

    def _total(self) -> int:
        parts = (
            (Part.RECORDS, self._records_db),
            (Part.LEASES, self._leases_db),
            (Part.META, self._meta_db),
        )
        digest = 0
        for part, database in parts:
            with self._reader.cursor(database) as cursor:
                items = cursor.iternext()
                if part is Part.META:
                    items = (item for item in items if item[0] != _META_DIGEST)
                digest = changed(digest, gone=0, come=total(part, items))
        return digest

    # Reading.

    def get(self, packed: PackedRevision) -> bytes:
        """The record at `packed`, which the caller knows to exist."""
        record = self._active.records.get(packed)
        if record is None:
            record = self.find(packed)
        assert record is not None, f"revision {packed:#x} is in the index but not in the backend"
        return record

    def find(self, packed: PackedRevision) -> bytes | None:
        record = self._active.records.get(packed)
        if record is None and self._flushing is not None:
            record = self._flushing.records.get(packed)
        if record is None:
            record = self._reader.get(to_bytes(packed), db=self._records_db)
        return record

    def get_many(self, wanted: Sequence[PackedRevision]) -> list[bytes]:
        """The records at `wanted`, all known to exist, in that order."""
        active = self._active.records
        flushing = active if self._flushing is None else self._flushing.records
        found = [active.get(packed) or flushing.get(packed) for packed in wanted]
        keys = [
            to_bytes(packed) for packed, record in zip(wanted, found, strict=True) if not record
        ]
        with self._reader.cursor(self._records_db) as cursor:
            pairs = cursor.getmulti(keys)
        assert len(pairs) == len(keys), "a revision is in the index but not in the backend"
        if len(pairs) == len(found):
            return [record for _, record in pairs]
        flushed = iter(pairs)
        return [record or next(flushed)[1] for record in found]

    def records(self, start: PackedRevision) -> Iterator[tuple[PackedRevision, bytes]]:
        """Records from `start` on, ascending, as of this moment.

        The caller consumes it before it changes anything or lets a flush end. Records that a
        compaction has deleted may still appear until it is flushed.
        """
        with self._reader.cursor(self._records_db) as cursor:
            if cursor.set_range(to_bytes(start)):
                for key, record in cursor.iternext():
                    yield from_bytes(key), record
        for buffer in (self._flushing, self._active):
            if buffer is not None:
                for packed, record in buffer.records.items():
                    if packed >= start:
                        yield packed, record

    def leases(self) -> dict[int, bytes]:
        """All leases by id; only what is flushed, so it is for the start."""
        with self._reader.cursor(self._leases_db) as cursor:
            stored = ((bytes(key), bytes(value)) for key, value in cursor.iternext())
            return {int.from_bytes(key, "big", signed=True): value for key, value in stored}

    def meta(self, name: bytes) -> bytes | None:
        """A named value as flushed."""
        return self._reader.get(name, db=self._meta_db)

    def all_meta(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """Named values whose name begins with `prefix`, as flushed."""
        found: list[tuple[bytes, bytes]] = []
        with self._reader.cursor(self._meta_db) as cursor:
            if cursor.set_range(prefix):
                for name, value in cursor.iternext():
                    if not name.startswith(prefix):
                        break
                    found.append((bytes(name), bytes(value)))
        return found

    # Writing.

    def put(self, packed: PackedRevision, record: bytes) -> None:
        self._active.records[packed] = record
        self._active.approximate_bytes += len(record) + 64

    def put_many(self, packed: Sequence[PackedRevision], records: Sequence[bytes]) -> None:
        """Put records in ascending order of revision."""
        self._active.records.update(zip(packed, records, strict=True))
        self._active.approximate_bytes += sum(map(len, records)) + 64 * len(records)

    def delete(self, packed: PackedRevision) -> None:
        """Forget a record. The history before it must not need it any more."""
        if self._active.records.pop(packed, None) is None:
            self._active.deleted.append(packed)

    def set_lease(self, lease_id: int, value: bytes | None) -> None:
        self._active.leases[lease_id] = value

    def set_meta(self, name: bytes, value: bytes | None) -> None:
        """Set a named value; None forgets it."""
        self._active.meta[name] = value

    @property
    def pending_bytes(self) -> int:
        """About how much memory waits for a flush."""
        return self._active.approximate_bytes

    @property
    def is_dirty(self) -> bool:
        return bool(self._active)

    # Flushing.

    def begin_flush(self) -> Flush | None:
        """Begin to move the buffer into an LMDB transaction; None if there is nothing to do.

        None also while a snapshot is being copied: the event loop never waits for that, and what
        is not flushed is safe in the log.

        Followed by `Flush.fill` until it is full, `Flush.commit`, and then `end_flush`.

        Raises:
            OSError, lmdb.Error: it cannot be begun, or an earlier flush failed; the member must
                not go on.
        """
        assert self._flush is None, "one flush at a time"
        if self._failure is not None:
            raise self._failure
        if not self._active:
            return None
        if not self._writer.acquire(blocking=False):
            return None
        self._flushing, self._active = self._active, Buffer()
        try:
            txn = self._env.begin(write=True)
        except (lmdb.Error, OSError) as error:
            self._fail(error)
            raise
        self._flush = Flush(txn, self._pieces(txn, self._flushing))
        return self._flush

    def _fail(self, error: Exception) -> None:
        """Keep what could not be flushed readable, and let nothing newer go past it."""
        self._failure = error
        self._writer.release()

    def _pieces(self, txn: lmdb.Transaction, buffer: Buffer) -> Iterator[None]:
        """Write the buffer piece by piece, at last the digest of the database with it."""
        gone = come = 0
        size = max(_PIECE_ITEMS_MIN, (len(buffer.deleted) + len(buffer.records)) // _PIECES)
        for first in range(0, len(buffer.deleted), size):
            for packed in buffer.deleted[first : first + size]:
                key = to_bytes(packed)
                gone += weigh(Part.RECORDS, key, txn.pop(key, db=self._records_db))
            yield
        records = iter(buffer.records.items())
        while piece := [(to_bytes(packed), record) for packed, record in islice(records, size)]:
            come += total(Part.RECORDS, piece)
            with txn.cursor(self._records_db) as cursor:
                _, appended = cursor.putmulti(piece, append=True)
            assert appended == len(piece), "revisions are flushed in ascending order"
            yield
        named = [
            (Part.LEASES, self._leases_db, lease_id.to_bytes(8, "big", signed=True), value)
            for lease_id, value in buffer.leases.items()
        ]
        named += [(Part.META, self._meta_db, name, value) for name, value in buffer.meta.items()]
        for part, database, key, value in named:
            gone += weigh(part, key, txn.pop(key, db=database))
            come += weigh(part, key, value)
            if value is not None:
                txn.put(key, value, db=database)
        digest = changed(self._digest, gone=gone, come=come)
        txn.put(_META_DIGEST, b"%d" % digest, db=self._meta_db)
        self._flushing_digest = digest

    def end_flush(self) -> bool:
        """Take the flush as the new ground, once all of it is done; on the event loop.

        Returns:
            False when somebody who could not wait (`flush`) has done it already.

        Raises:
            OSError, lmdb.Error: it failed; nothing of it is durable and the member must
                not go on.
        """
        flush, self._flush = self._flush, None
        if flush is None:
            return False
        flush.commit()
        if flush.error is not None:
            self._fail(flush.error)
            raise flush.error
        self._reader.abort()
        self._reader = self._env.begin()
        self._last_page = self._env.info()["last_pgno"]
        self._flushing = None
        self._digest = self._flushing_digest
        self._generation += 1
        self._writer.release()
        return True

    def flush(self) -> bool:
        """Flush everything now and wait for the disk; False while a snapshot is being copied."""
        if self._flush is not None:
            self.end_flush()
        flush = self.begin_flush()
        if flush is not None:
            self.end_flush()
        return not self._active

    # Whole-file work.

    @property
    def is_busy(self) -> bool:
        """Whether a flush or a copy is under way, which `replace` would wait for."""
        return self._flush is not None or self._writer.locked()

    def copy(self, path: Path) -> None:
        """Write a compacted copy of the flushed state to `path`; blocks; any thread."""
        with self._writer:
            self._write_copy(path)

    def _write_copy(self, path: Path) -> None:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self._env.copyfd(file, compact=True)
            os.fsync(file)
        finally:
            os.close(file)

    def replace(self, path: Path) -> None:
        """Take the database file at `path` in place of the present one, dropping the buffers."""
        if self._flush is not None:
            self.end_flush()
        if self._failure is not None:
            raise self._failure
        with self._writer:
            self._reader.abort()
            self._env.close()
            path.replace(self.directory / FILE_NAME)
            sync_directory(self.directory)
            self._active = Buffer()
            self._open()

    def copy_defragmented(self) -> int:
        """Write a copy without holes beside the file; blocks; any thread.

        Returns:
            What `take_defragmented` needs to know that nothing was flushed since.
        """
        path = self.directory / _DEFRAGMENTED_NAME
        with self._writer:
            try:
                self._write_copy(path)
            except (OSError, lmdb.Error):
                # On a full disk what is there of it is the first that must go.
                with contextlib.suppress(OSError):
                    path.unlink()
                raise
            return self._generation

    def take_defragmented(self, generation: int) -> bool:
        """Take the copy in place of the file, keeping what is buffered; on the event loop.

        Returns:
            False when something was flushed since, or another copy is under way: copy again.
        """
        if self._flush is not None or not self._writer.acquire(blocking=False):
            return False
        try:
            if generation != self._generation:
                return False
            path = self.directory / _DEFRAGMENTED_NAME
            self._reader.abort()
            self._env.close()
            path.replace(self.directory / FILE_NAME)
            sync_directory(self.directory)
            self._open()
            return True
        finally:
            self._writer.release()

    def used_bytes(self) -> int:
        """The size of the file, cheaply; what waits for a flush is not in it."""
        return (self._last_page + 1) * self._page_bytes

    def file_bytes(self) -> tuple[int, int]:
        """The size of the file, and how much of it is in use."""
        info, stat = self._env.info(), self._env.stat()
        total = (info["last_pgno"] + 1) * stat["psize"]
        pages = 0
        for database in (self._records_db, self._leases_db, self._meta_db):
            part = self._reader.stat(database)
            pages += part["branch_pages"] + part["leaf_pages"] + part["overflow_pages"]
        return total, pages * stat["psize"]

    def close(self) -> None:
        """Release the file; what is not flushed is lost here and replayed from the log."""
        if self._flush is not None:
            with contextlib.suppress(lmdb.Error, OSError):
                self.end_flush()
        self._reader.abort()
        self._env.close()
