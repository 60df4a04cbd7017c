"""Gives volumes to the group that a Pod's containers share (fsGroup).

Source: Kubernetes documentation, "Configure a Security Context for a Pod"; upstream's
SetVolumeOwnership (modes).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.node.volume_files import File, Files

_FILE_BITS = 0o660
_DIRECTORY_BITS = 0o110
_READ_ONLY_BITS = 0o440


def group_of(spec: Mapping[str, Any]) -> int | None:
    """A Pod's fsGroup."""
    group: int | None = (spec.get("securityContext") or {}).get("fsGroup")
    return group


def give_to_group(root: Path, spec: Mapping[str, Any], *, read_only: bool = False) -> None:
    """Let the Pod's group own all below `root`, links left alone.

    An agent that is not root cannot, and need not: all containers are the same user then.

    Raises:
        OSError: the file system does not take it.
    """
    group = group_of(spec)
    if group is None or os.geteuid() != 0:
        return
    policy = (spec.get("securityContext") or {}).get("fsGroupChangePolicy")
    found = root.stat()
    wanted = found.st_mode | _bits(found.st_mode, read_only=read_only)
    if policy == "OnRootMismatch" and (found.st_gid, found.st_mode) == (group, wanted):
        return
    # The root comes last: what was interrupted is begun anew.
    for _path, directories, files, descriptor in os.fwalk(root, topdown=False):
        for name in (*directories, *files):
            _give(name, descriptor, group, read_only=read_only)
    os.chown(root, -1, group)
    root.chmod(stat.S_IMODE(wanted))


def readable_by_group(files: Files, spec: Mapping[str, Any]) -> Files:
    """The files with the modes that they have once the Pod's group owns them."""
    if group_of(spec) is None or os.geteuid() != 0:
        return files
    return {path: File(file.content, file.mode | _READ_ONLY_BITS) for path, file in files.items()}


def _give(name: str, descriptor: int, group: int, *, read_only: bool) -> None:
    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    os.chown(name, -1, group, dir_fd=descriptor, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        mode = found.st_mode | _bits(found.st_mode, read_only=read_only)
        os.chmod(name, stat.S_IMODE(mode), dir_fd=descriptor)


def _bits(mode: int, *, read_only: bool) -> int:
    bits = _READ_ONLY_BITS if read_only else _FILE_BITS
    return bits | stat.S_ISGID | _DIRECTORY_BITS if stat.S_ISDIR(mode) else bits
