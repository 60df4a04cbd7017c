"""The directory that a write-ahead log lives in: the real one, and what stands in for it in tests.

Every method that changes something returns only when the change survives a loss of power.

The file that is appended to has room set aside behind its end, so that a sync need not wait for the
file system to note a new size: that takes half of its time, and all of it when others sync too.
After a crash the room is there as zeros behind the last record; `append` to another file, `create`
and `close` give it back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Protocol

from store.directory import make_directory, write_all
from store.figures import FIGURES

TEMPORARY = ".tmp"
# How far ahead of its end a file has room.
_ROOM_BYTES = 4 << 20


class Directory(Protocol):
    """Files of one directory, by name; called from one thread at a time."""

    @property
    def label(self) -> str:
        """What error messages call this directory."""

    def names(self) -> list[str]:
        """Names of the files, sorted; temporary ones left out."""

    def read(self, name: str) -> bytes: ...

    def create(self, name: str, content: bytes) -> None:
        """Make `name` with `content`, all or nothing."""

    def append(self, name: str, data: bytes) -> None:
        """Write `data` behind the end of `name` and sync it."""

    def truncate(self, name: str, size: int) -> None: ...

    def remove(self, name: str) -> None: ...

    def close(self) -> None: ...


class DiskDirectory:
    """A real directory, locked for this process from its making to `close`."""

    def __init__(self, path: Path) -> None:
        """Make `path` where it is missing, and lock it.

        Raises:
            OSError: it cannot be made, or another process holds it.
        """
        make_directory(path)
        self._path = path
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._directory)
            raise OSError(f"{path}: in use by another process") from None
        for left_over in path.glob(f"*{TEMPORARY}"):
            left_over.unlink()
        self._open_name = ""
        self._open_file = -1
        # Of the open file: where its content ends, and where its room does.
        self._end = 0
        self._room_end = 0

    @property
    def label(self) -> str:
        return str(self._path)

    def names(self) -> list[str]:
        return sorted(entry.name for entry in self._path.iterdir() if entry.suffix != TEMPORARY)

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def create(self, name: str, content: bytes) -> None:
        self._close_file()
        temporary = self._path / (name + TEMPORARY)
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            write_all(file, content)
            os.fsync(file)
        finally:
            os.close(file)
        temporary.rename(self._path / name)
        os.fsync(self._directory)

    def append(self, name: str, data: bytes) -> None:
        if name != self._open_name:
            self._close_file()
            self._open_file = os.open(self._path / name, os.O_WRONLY)
            self._open_name = name
            self._end = self._room_end = os.fstat(self._open_file).st_size
        if self._end + len(data) > self._room_end:
            self._make_room(len(data))
        FIGURES.wal_bytes += len(data)
        view = memoryview(data)
        while view:
            written = os.pwrite(self._open_file, view, self._end)
            self._end += written
            view = view[written:]
        began = time.perf_counter()
        os.fdatasync(self._open_file)
        FIGURES.wal_sync_s.observe(time.perf_counter() - began)

    def _make_room(self, size: int) -> None:
        self._room_end = self._end + max(size, _ROOM_BYTES)
        # Where that is not possible, whatever the reason, a write grows the file as it needs.
        with contextlib.suppress(OSError):
            os.posix_fallocate(self._open_file, self._end, self._room_end - self._end)

    def truncate(self, name: str, size: int) -> None:
        file = os.open(self._path / name, os.O_WRONLY)
        try:
            os.ftruncate(file, size)
            os.fsync(file)
        finally:
            os.close(file)

    def remove(self, name: str) -> None:
        (self._path / name).unlink()
        os.fsync(self._directory)

    def close(self) -> None:
        self._close_file()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def _close_file(self) -> None:
        if self._open_file >= 0:
            file, self._open_name, self._open_file = self._open_file, "", -1
            try:
                if self._room_end > self._end:
                    os.ftruncate(file, self._end)
                    os.fsync(file)
            finally:
                os.close(file)
