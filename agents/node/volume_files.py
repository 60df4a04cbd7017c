"""Volumes whose files come from the API: which files, and how they get onto the disk.

A set of files is written into a fresh directory and shown by renaming one symbolic link, so that a
container sees either the old set or the new one.

Source: Kubernetes documentation, "Projected Volumes", "Configure a Pod to Use a ConfigMap".
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_MODE = 0o644
_LINK = "..data"


class VolumeError(Exception):
    """A volume cannot be set up; the message is for the user (FailedMount)."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a volume."""

    content: bytes
    mode: int = DEFAULT_MODE


Files = dict[str, File]  # by path relative to the volume


def select(
    data: Mapping[str, bytes], source: Mapping[str, Any], default_mode: int, *, lacks: str
) -> Files:
    """The files of a ConfigMap's or Secret's data: all keys, or those that `items` names.

    Args:
        lacks: what is said before a key that is missing.

    Raises:
        VolumeError: an item's key is missing, and the source is not optional.
    """
    items = source.get("items")
    if not items:
        return {safe_path(key): File(content, default_mode) for key, content in data.items()}
    files: Files = {}
    for item in items:
        if item["key"] in data:
            mode = item.get("mode")
            chosen = default_mode if mode is None else mode
            files[safe_path(item["path"])] = File(data[item["key"]], chosen)
        elif not source.get("optional"):
            raise VolumeError(f"{lacks}: {item['key']}")
    return files


def safe_path(path: str) -> str:
    """`path`, if it stays below its directory.

    Raises:
        VolumeError: it does not.
    """
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise VolumeError(f"invalid path {path!r}: must be relative and must not contain '..'")
    return path


def write_files(directory: Path, files: Files) -> bool:
    """Make `directory` show exactly `files`, at once; returns whether anything changed."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    link = directory / _LINK
    old = _shown(link)
    if old is not None and _read(old) == files:
        return False
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    try:
        _fill(fresh, files)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)  # it is tried again: on a full disk, for long
        raise
    temporary = directory / "..data_tmp"
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(fresh.name)
    os.replace(temporary, link)  # noqa: PTH105 - atomic, on a symbolic link itself
    _link_entries(directory, {path.split("/")[0] for path in files})
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _shown(link: Path) -> Path | None:
    """The directory that is shown now, if it is one of this volume's own."""
    if not link.is_symlink():
        return None
    name = str(link.readlink())
    found = link.parent / name
    ours = name.startswith("..") and "/" not in name and name != ".."
    return found if ours and found.is_dir() and not found.is_symlink() else None


def _fill(directory: Path, files: Files) -> None:
    directory.chmod(0o755)
    for path, file in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)


def _link_entries(directory: Path, names: set[str]) -> None:
    for entry in directory.iterdir():
        if entry.is_symlink() and entry.name not in names and not entry.name.startswith(".."):
            entry.unlink()
    for name in names:
        entry = directory / name
        if not entry.is_symlink():
            entry.symlink_to(f"{_LINK}/{name}")


def _read(directory: Path) -> Files:
    found: Files = {}
    for path in directory.rglob("*"):
        if path.is_file():
            mode = path.stat().st_mode & 0o777
            found[str(path.relative_to(directory))] = File(path.read_bytes(), mode)
    return found
