"""A layer's file tree, gathered from this machine: programs with the libraries they load.

Every file stays at its own path, so that whatever refers to it by that path still finds it.
"""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LIBRARY: Final = re.compile(r"(?:=>\s+|^\s+)(/\S+)\s+\(0x", re.MULTILINE)
_LDD_TIMEOUT_S: Final = 30.0
_DIRECTORY_MODE: Final = 0o755
_LINKS_MAX: Final = 40


class Tree:
    """What will be in the layer, by path without the leading slash."""

    def __init__(self) -> None:
        self._entries: dict[str, Path | bytes | str | int] = {}
        self._modes: dict[str, int] = {}

    def folder(self, path: str, mode: int = _DIRECTORY_MODE) -> None:
        """An empty directory, and those above it."""
        name = path.strip("/")
        self._entries[name], self._modes[name] = mode, mode

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """A file that this machine does not have."""
        name = path.strip("/")
        self._entries[name], self._modes[name] = content, mode

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._entries[path.strip("/")] = target

    def add(self, path: Path | str) -> None:
        """A file of this machine, with the symbolic links that lead to it."""
        self._add([part for part in str(path).split("/") if part], _LINKS_MAX)

    def _add(self, parts: list[str], links_left: int) -> None:
        here = Path("/")
        for number, part in enumerate(parts):
            here = Path(os.path.normpath(here / part))
            if here.is_symlink():
                if not links_left:
                    return
                target = str(here.readlink())
                self.link(str(here), target)
                rest = Path(here.parent / target, *parts[number + 1 :])
                normal = os.path.normpath(rest)
                self._add([word for word in normal.split("/") if word], links_left - 1)
                return
        if here.is_file():
            name = str(here).strip("/")
            self._entries[name], self._modes[name] = here, stat.S_IMODE(here.stat().st_mode)

    def add_programs(self, paths: Iterable[str]) -> None:
        """Programs (or libraries) with all libraries that they load."""
        found = [path for path in paths if Path(path).is_file()]
        for path in found:
            self.add(path)
        real = sorted({os.path.realpath(path) for path in found})
        for path in _libraries(real):
            self.add(path)

    def save(self, target: Path) -> None:
        """Write the layer; the same tree always gives the same bytes."""
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
            for name in sorted(self._with_parents()):
                self._save(archive, name)

    def _with_parents(self) -> set[str]:
        names = set(self._entries)
        for name in self._entries:
            names.update(str(parent) for parent in Path(name).parents if str(parent) != ".")
        return names

    def _save(self, archive: tarfile.TarFile, name: str) -> None:
        entry = self._entries.get(name, _DIRECTORY_MODE)
        info = tarfile.TarInfo(name)
        info.mode = self._modes.get(name, 0o777 if isinstance(entry, str) else _DIRECTORY_MODE)
        match entry:
            case int():
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            case str():
                info.type, info.linkname = tarfile.SYMTYPE, entry
                archive.addfile(info)
            case bytes():
                info.size = len(entry)
                archive.addfile(info, io.BytesIO(entry))
            case Path():
                info.size = entry.stat().st_size
                with entry.open("rb") as file:
                    archive.addfile(info, file)


def _libraries(paths: list[str]) -> list[str]:
    """What the dynamic loader says that these files load."""
    if not paths:
        return []
    done = subprocess.run(
        ["ldd", *paths],
        capture_output=True,
        text=True,
        timeout=_LDD_TIMEOUT_S,
        check=False,
    )
    return sorted(set(_LIBRARY.findall(done.stdout)))
