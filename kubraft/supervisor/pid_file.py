"""The supervisor's pid file. A lock on it, not the number in it, says that one is running."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class PidFile:
    """Held by at most one process; the kernel lets go of it when that ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        """Write this process's pid and hold the file, or `False` where another one does.

        Raises:
            OSError: the file cannot be opened or written.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Remove the file; only after `acquire`."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def find_running(path: Path) -> int | None:
    """The pid of the process that holds `path`, `None` where none does."""
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read().strip() or 0)
    except (FileNotFoundError, NotADirectoryError):
        pass
    return None


def remove_stale(path: Path) -> int | None:
    """Remove a pid file that nobody holds.

    Returns:
        The pid it named, `None` where there was no such file.
    """
    if not path.exists() or find_running(path) is not None:
        return None
    text = path.read_text().strip()
    path.unlink(missing_ok=True)
    return int(text) if text.isdigit() else 0
