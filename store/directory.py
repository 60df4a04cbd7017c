"""Directories whose entries survive a loss of power.

A file that was synced is still gone after a loss of power if its name was not: the names are in the
directory, which must be synced too, and so must the directory's own name in its parent.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO


def make_directory(path: Path) -> None:
    """Make `path`, and what is missing above it, for this user only; return once that lasts.

    Raises:
        OSError: it cannot be made, or is something else than a directory.
    """
    if not path.parent.is_dir():
        make_directory(path.parent)
    path.mkdir(exist_ok=True, mode=0o700)
    # Also where it was there already: who made it may not have lived to sync it. A parent that may
    # be entered and not read is not one that this program has made.
    with contextlib.suppress(PermissionError):
        sync_directory(path.parent)


def lock_directory(path: Path) -> IO[bytes]:
    """Make `path` and keep it for one process, until what is returned is closed.

    Raises:
        BlockingIOError: another process has it.
        OSError: it cannot be made.
    """
    make_directory(path)
    lock = (path / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


def sync_directory(path: Path) -> None:
    """Wait until the names in `path` are as they are now, whatever happens."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_all(file: int, data: bytes) -> None:
    """Write the whole of `data` to a descriptor, however much the kernel takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
