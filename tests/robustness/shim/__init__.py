"""The wall clock and the disk of one member, as a test wants them while the member runs.

`build` compiles shim.c, a library that is loaded in front of libc; a `Shim` is what one member
obeys. Nothing of it is in the product, which has no idea that it is there.
"""

from __future__ import annotations

import functools
import hashlib
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_name("shim.c")
_FIELDS = ("wall_offset_ns", "sync_delay_us", "sync_errno", "room_bytes", "hits")
_SIZE = 8 * len(_FIELDS)
_CALM = (0, 0, 0, -1, 0)


@functools.cache
def build() -> Path | None:
    """The library, compiled where it is not there yet; None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"kubraft-shim-{os.getuid()}-{digest}.so"
    if not library.exists():
        # Several test runners may do this at once; the last rename wins, all are the same.
        with tempfile.TemporaryDirectory() as directory:
            made = Path(directory) / "shim.so"
            subprocess.run(
                [compiler, "-shared", "-fPIC", "-O2", "-o", made, _SOURCE, "-ldl"],
                check=True,
                capture_output=True,
                timeout=60,
            )
            beside = library.with_name(f"{library.name}.{os.getpid()}")
            shutil.copyfile(made, beside)
            beside.rename(library)
    return library


class Shim:
    """What stands between one member and its machine. Times in seconds."""

    def __init__(self, library: Path, control: Path, disk: Path) -> None:
        self._library = library
        self._path = control
        self._disk = disk
        control.write_bytes(struct.pack(f"={len(_FIELDS)}q", *_CALM))
        with control.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _SIZE)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to obey."""
        return {
            "LD_PRELOAD": str(self._library),
            "KUBRAFT_SHIM_CONTROL": str(self._path),
            "KUBRAFT_SHIM_DISK": str(self._disk.resolve()),
        }

    @property
    def hits(self) -> int:
        """How many syncs and writes were not what they would have been."""
        (found,) = struct.unpack_from("=q", self._page, 8 * _FIELDS.index("hits"))
        return int(found)

    def set_wall_clock(self, offset_s: float) -> None:
        """Let the wall clock jump to so many seconds from the true time."""
        self._set("wall_offset_ns", int(offset_s * 1_000_000_000))

    def slow_syncs(self, delay_s: float) -> None:
        self._set("sync_delay_us", int(delay_s * 1_000_000))

    def fail_syncs(self, error: int) -> None:
        """Let every sync fail with this errno."""
        self._set("sync_errno", error)

    def fill_disk(self, room_bytes: int) -> None:
        """Let the disk be full after so many more bytes."""
        self._set("room_bytes", room_bytes)

    def calm(self) -> None:
        """Let everything be as it is."""
        for name, value in zip(_FIELDS[:-1], _CALM, strict=False):
            self._set(name, value)

    def _set(self, name: str, value: int) -> None:
        struct.pack_into("=q", self._page, 8 * _FIELDS.index(name), value)
