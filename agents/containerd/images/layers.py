"""The layers of the built-in images, made once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.containerd.images.tree import Tree

_PACKAGE: Final = Path(__file__).resolve().parents[3]
ENTRY: Final = "/opt/kubraft/agents/containerd/images/entry.py"
_MODULES: Final = (
    *("__init__.py", "http_server.py", "web.py", "nginx.py", "pause.py"),
)  # of the stand-ins
# What people expect of busybox, as far as this machine has it.
_PROGRAMS: Final = (
    "sh bash ls cat echo printf test [ true false sleep date env printenv pwd mkdir rmdir rm cp mv "
    "ln touch chmod chown chgrp head tail wc sort uniq cut tr tee seq yes dd df du stat id whoami "
    "uname hostname basename dirname realpath readlink mktemp md5sum sha1sum sha256sum base64 od "
    "timeout nproc kill ps top free pgrep pkill uptime grep egrep sed awk mawk find xargs tar gzip "
    "gunzip zcat diff cmp ip ping nc wget nslookup getent less vi which expr nohup sync tty stty "
    "mount umount dmesg more clear watch"
)
_PASSWD: Final = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
_GROUP: Final = b"root:x:0:\nnogroup:x:65534:\n"
_NSSWITCH: Final = b"passwd: files\ngroup: files\nhosts: files dns\n"
# PID 1 of a Pod: reaps what is left to it, and ends when it is asked to.
_PAUSE: Final = b"#!/bin/sh\ntrap 'exit 0' TERM INT\nwhile :; do sleep 86400 & wait $!; done\n"
_PYTHON_LEFT_OUT: Final = frozenset(
    {"__pycache__", "ensurepip", "idlelib", "lib2to3", "site-packages", "dist-packages", "test",
     "tests", "tkinter", "turtledemo", "config"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as a file; not compressed, so its digest is also its diff id."""

    path: Path
    digest: str
    size: int


class Layers:
    """Makes layers when they are first asked for; several processes may share the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Layer] = {}

    def base(self) -> Layer:
        """A shell and the usual programs."""
        return self._layer("base", _base)

    def python(self) -> Layer:
        """This interpreter with its standard library, and the stand-ins for servers."""
        return self._layer("python", _python)

    def by_digest(self, digest: str) -> Layer | None:
        """One that has been made."""
        return next((layer for layer in self._known.values() if layer.digest == digest), None)

    def _layer(self, name: str, build: Callable[[Tree], None]) -> Layer:
        if name not in self._known:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / f"{name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._known[name] = self._made(name, build)
        return self._known[name]

    def _made(self, name: str, build: Callable[[Tree], None]) -> Layer:
        path = self._folder / f"{name}-{_age()}.tar"
        if not path.exists():
            tree = Tree()
            build(tree)
            handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=f".{name}.")
            os.close(handle)
            try:
                tree.save(Path(temporary))
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Layer(path, f"sha256:{digest}", path.stat().st_size)


def _age() -> str:
    """Changes with the programs and modules that the layers are made of."""
    paths = [*(shutil.which(name) for name in ("sh", "ls", "busybox")), sys.executable, os.__file__]
    paths += [str(file) for file in (*_stand_ins(), Path(__file__), Path(ENTRY_SOURCE))]
    seen = [f"{path}:{Path(path).stat().st_mtime_ns}" for path in paths if path]
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:16]


ENTRY_SOURCE: Final = str(Path(__file__).with_name("entry.py"))


def _base(tree: Tree) -> None:
    for folder in ("dev", "proc", "sys", "etc", "root", "run", "var/run", "opt", "usr/local/bin"):
        tree.folder(folder)
    for folder in ("tmp", "var/tmp"):
        tree.folder(folder, 0o1777)
    tree.write("etc/passwd", _PASSWD)
    tree.write("etc/group", _GROUP)
    tree.write("etc/nsswitch.conf", _NSSWITCH)
    found = [path for path in map(shutil.which, _PROGRAMS.split()) if path]
    tree.add_programs(found)
    # /bin and its kind are links on most systems; commands name them all the same.
    for name in ("bin", "sbin", "lib", "lib64"):
        tree.add(f"/{name}/.")
        if Path("/", name).is_symlink():
            tree.link(name, str(Path("/", name).readlink()))
    tree.write("pause", _PAUSE, 0o755)


def _python(tree: Tree) -> None:
    executable = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    library = Path(os.__file__).resolve().parent
    files = [str(path) for path in _library_files(library)]
    for file in files:
        tree.add(file)
    tree.add_programs([executable, *(file for file in files if file.endswith(".so"))])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name in ("python", "python3", version):
        tree.link(f"usr/local/bin/{name}", executable)
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.is_file():
        tree.write(str(bundle), bundle.read_bytes())
    for source in (*_stand_ins(), Path(ENTRY_SOURCE)):
        tree.write(f"/opt/kubraft/{source.relative_to(_PACKAGE)}", source.read_bytes())


def _stand_ins() -> list[Path]:
    return [_PACKAGE / "agents/runtime/builtin" / name for name in _MODULES]


def _library_files(library: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(library):
        names[:] = sorted(
            name
            for name in names
            if name not in _PYTHON_LEFT_OUT and not name.startswith("config-")
        )
        for file in sorted(files):
            if not file.endswith((".pyc", ".a")):
                yield Path(folder, file)
