"""A container's view of the file system, made of the host's own directories.

The root is a small tmpfs. Every top-level directory of the host is bound onto it read-only, so a
container finds the host's programs and cannot change the host; /tmp, /var/tmp and the working
directory are its own, and volumes lie where the Pod wants them. Where a volume's path does not
exist on the host, its nearest existing parent is replaced by a tmpfs that shows the same entries.

Runs in the container's first process, in a mount namespace that nobody shares, before any of the
container's code. Needs no root: a user namespace is enough. Standard library only.
"""

from __future__ import annotations

import os
import stat

from agents.runtime import linux
from agents.runtime.launch import Bind, Launch

_OLD = "/.host"
_TMPFS = "mode=0755,size=64m"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


class Rootfs:
    """Assembles one container's root; `enter` leaves the calling process inside it."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        # Mount point -> whether entries may be created below it without touching the host.
        self._mounts: dict[str, bool] = {"/": True}

    def enter(self) -> None:
        """Build the root, make it this process's root, and forget the host's.

        Raises:
            OSError: the kernel refused a step; its `filename` says which.
        """
        launch = self._launch
        sources = {bind: os.path.realpath(bind.source) for bind in self._all_binds()}
        linux.mount("", "/", "", linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("tmpfs", launch.root, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, _TMPFS)
        os.mkdir(launch.root + _OLD)
        linux.pivot_root(launch.root, launch.root + _OLD)
        os.chdir("/")
        self._bind_host()
        for path in launch.masked:
            self._mask(path)
        for bind in launch.private:
            self._bind(_OLD + sources[bind], bind, own=True)
        for bind in sorted(launch.binds, key=lambda b: b.target.count("/")):
            self._bind(_OLD + sources[bind], bind, own=False)
        if launch.cwd and not os.path.isdir(launch.cwd):
            self._ensure(launch.cwd, directory=True)
        linux.detach(_OLD)
        os.rmdir(_OLD)
        if launch.read_only_root:
            linux.mount("", "/", "", linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY)

    def _all_binds(self) -> tuple[Bind, ...]:
        return self._launch.private + self._launch.binds

    def _bind_host(self) -> None:
        """Show the host's top-level entries, except those that are made new here."""
        for name in sorted(os.listdir(_OLD)):
            if name in {"dev", "proc", "tmp", "lost+found"}:
                continue
            self._show(f"{_OLD}/{name}", f"/{name}", read_only=True)
        for path in ("/proc", "/dev", "/tmp"):  # noqa: S108 - the container's own
            os.mkdir(path)
        os.chmod("/tmp", 0o1777)  # noqa: S103, S108 - as every /tmp
        self._mount_proc()
        self._make_devices()

    def _mount_proc(self) -> None:
        flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        try:
            linux.mount("proc", "/proc", "proc", flags)
        except OSError:  # an outer container hides parts of /proc: the host's must do
            linux.mount(_OLD + "/proc", "/proc", "", linux.MS_BIND | linux.MS_REC)
        self._mounts["/proc"] = False

    def _make_devices(self) -> None:
        if self._launch.privileged:
            linux.mount(_OLD + "/dev", "/dev", "", linux.MS_BIND | linux.MS_REC)
            self._mounts["/dev"] = False
            return
        for name in _DEVICES:
            if os.path.exists(f"{_OLD}/dev/{name}"):
                self._show(f"{_OLD}/dev/{name}", f"/dev/{name}", read_only=False)
        for name, target in (("fd", "/proc/self/fd"), ("ptmx", "pts/ptmx")):
            os.symlink(target, f"/dev/{name}")
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            os.symlink(f"/proc/self/fd/{number}", f"/dev/{name}")
        if os.path.isdir(_OLD + "/dev/pts"):
            self._show(_OLD + "/dev/pts", "/dev/pts", read_only=False)
        os.mkdir("/dev/shm")  # noqa: S108 - the container's own
        flags = linux.MS_NOSUID | linux.MS_NODEV
        linux.mount("shm", "/dev/shm", "tmpfs", flags, "mode=1777,size=64m")  # noqa: S108

    def _show(self, source: str, target: str, *, read_only: bool) -> None:
        """Make `target` the same as the host's `source`: a link again, else a bind mount."""
        try:
            mode = os.lstat(source).st_mode
            if stat.S_ISLNK(mode):
                os.symlink(os.readlink(source), target)
                return
            _make_mount_point(target, directory=stat.S_ISDIR(mode))
            linux.mount(source, target, "", linux.MS_BIND | linux.MS_REC)
        except OSError:
            return  # not ours to read, or gone since: the container does not see it
        self._mounts.setdefault(target, False)
        if read_only:
            _try_read_only(target)

    def _mask(self, path: str) -> None:
        path = os.path.realpath(path)
        if os.path.isdir(path):
            linux.mount("tmpfs", path, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, _TMPFS)
            self._mounts[path] = True
        elif os.path.exists(path):
            linux.mount("/dev/null", path, "", linux.MS_BIND)

    def _bind(self, source: str, bind: Bind, *, own: bool) -> None:
        directory = os.path.isdir(source)
        target = self._ensure(bind.target, directory=directory)
        linux.mount(source, target, "", linux.MS_BIND | linux.MS_REC)
        self._mounts[target] = own
        if bind.read_only:
            _try_read_only(target)

    def _ensure(self, path: str, *, directory: bool) -> str:
        """Make `path` exist, without changing anything of the host; returns it resolved."""
        path = os.path.realpath(path)
        if os.path.exists(path):
            return path
        parent = os.path.dirname(path)
        if not os.path.isdir(parent):
            parent = self._ensure(parent, directory=True)
        if not self._is_own(parent):
            self._shadow(parent)
        _make_mount_point(path, directory=directory)
        return path

    def _is_own(self, path: str) -> bool:
        while path not in self._mounts:
            path = os.path.dirname(path)
        return self._mounts[path]

    def _shadow(self, path: str) -> None:
        """Replace a directory of the host by a tmpfs of ours that shows the same entries."""
        held = os.open(path, os.O_PATH | os.O_DIRECTORY)
        names = sorted(os.listdir(path))
        linux.mount("tmpfs", path, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, _TMPFS)
        self._mounts[path] = True
        os.fchdir(held)  # the old directory is only reachable through itself now
        for name in names:
            # As read-only as it was: a bind mount keeps the flags of what it shows.
            self._show(name, f"{path}/{name}", read_only=False)
        os.chdir("/")
        os.close(held)


def _make_mount_point(path: str, *, directory: bool) -> None:
    if directory:
        os.mkdir(path, 0o755)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _try_read_only(target: str) -> None:
    try:
        linux.make_read_only(target)
    except OSError:  # before Linux 5.12: only the mount itself, and only if no flag is locked
        flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY
        linux.mount("", target, "", flags)
