"""Removing directories that containers have written into: links in them lead nowhere."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path


def remove_tree(path: Path) -> None:
    """Remove all below `path`, and itself; what links point to stays. Safe to repeat.

    Raises:
        OSError: something is left, on a file system that is read-only for one.
    """
    if path.is_symlink() or not path.exists():
        path.unlink(missing_ok=True)
        return
    if os.geteuid() != 0:
        _open_up(path)
    shutil.rmtree(path)


def _open_up(path: Path) -> None:
    """Let the owner into directories that are closed even to their owner."""
    for folder, names, _files in os.walk(path):
        for name in names:
            inner = Path(folder, name)
            mode = inner.lstat().st_mode
            if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
                inner.chmod(0o700)
