"""NAME.log: what a process writes to standard error, private and bounded in size.

A process holds the file open itself, so that its last words survive the supervisor. What grows
beyond the bound is copied to NAME.log.1 and the file is emptied in place.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

LOG_BYTES_MAX: Final = 8 << 20


def open_log(path: Path) -> int:
    """A descriptor that appends to `path`; the caller closes it.

    Raises:
        OSError: the file cannot be made or opened.
    """
    rotate(path)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def rotate(path: Path, bytes_max: int = LOG_BYTES_MAX) -> bool:
    """Move what `path` holds to its `.1` where it is larger than `bytes_max`.

    Writers that append stay attached. Lines written between the copy and the cut are lost.

    Returns:
        Whether it did.

    Raises:
        OSError: the copy failed; `path` is then as it was.
    """
    try:
        if path.stat().st_size <= bytes_max:
            return False
    except FileNotFoundError:
        return False
    older = path.with_name(path.name + ".1")
    shutil.copyfile(path, older)
    older.chmod(0o600)
    os.truncate(path, 0)
    return True
