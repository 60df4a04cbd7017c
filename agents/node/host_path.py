"""Paths of the node itself as volumes, checked for what the Pod says they are.

Source: Kubernetes documentation, "Volumes, hostPath"; upstream's plugin (modes, messages).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.node.volume_files import VolumeError

_CHECKS: dict[str, tuple[Callable[[Path], bool], str]] = {
    "Directory": (Path.is_dir, "a directory"),
    "DirectoryOrCreate": (Path.is_dir, "a directory"),
    "File": (Path.is_file, "a file"),
    "FileOrCreate": (Path.is_file, "a file"),
    "Socket": (Path.is_socket, "a socket file"),
    "CharDevice": (Path.is_char_device, "a character device"),
    "BlockDevice": (Path.is_block_device, "a block device"),
}
_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644


def host_path(source: Mapping[str, Any]) -> Path:
    """The path of a hostPath volume, made where its type says so.

    Without a type it is taken as it is, and is a directory where there is nothing.

    Raises:
        VolumeError: it is not of its type.
        OSError: it cannot be made.
    """
    path, kind = Path(source["path"]), source.get("type") or ""
    if ".." in path.parts:
        raise VolumeError(f"invalid HostPath `{path}`: must not contain '..'")
    if kind in ("", "DirectoryOrCreate") and not path.exists():
        path.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    elif kind == "FileOrCreate" and not path.exists():
        path.touch(mode=_FILE_MODE)
    if kind in _CHECKS:
        check, words = _CHECKS[kind]
        if not check(path):
            raise VolumeError(f"hostPath type check failed: {path} is not {words}")
    return path
