"""Limits on CPU and memory by control groups, version 1 or 2, where this user may make them.

Every container gets a group below one of this runtime's own. Where none can be made (an ordinary
user, a read-only /sys) limits are recorded and hold nobody back.

Source: Linux kernel documentation, "Control Group v2", "Memory Resource Controller" (v1).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agents.runtime.errors import RuntimeFailure
from kubraft.pb.criv1 import api_pb2 as cri

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_CONTROLLERS = ("memory", "cpu")
_NAME = "kubraft-"  # and the process ID of the runtime


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The groups of one runtime; `bases` is empty where there can be none."""

    version: int = 0
    bases: Mapping[str, Path] = field(default_factory=dict)  # controller -> directory; v2: one

    @property
    def available(self) -> bool:
        """Whether limits hold."""
        return bool(self.bases)

    def directories(self, container_id: str) -> tuple[str, ...]:
        """What a container's first process joins."""
        return tuple(str(base / container_id) for base in dict.fromkeys(self.bases.values()))

    def create(self, container_id: str, resources: cri.LinuxContainerResources) -> None:
        """Make a container's groups and write its limits.

        Raises:
            OSError: the kernel refused.
        """
        for path in self.directories(container_id):
            os.makedirs(path, exist_ok=True)
        self._write(container_id, resources)

    def update(self, container_id: str, resources: cri.LinuxContainerResources) -> None:
        """Write other limits.

        Raises:
            RuntimeFailure: the container uses more memory than it would be allowed.
        """
        limit = resources.memory_limit_in_bytes
        used = self._memory_used(container_id)
        if 0 < limit < used:
            raise RuntimeFailure(
                f"attempting to set container memory limit ({limit}) below current usage ({used})"
            )
        try:
            self._write(container_id, resources)
        except OSError as error:
            raise RuntimeFailure(f"failed to update resources: {error.strerror}") from error

    def oom_kills(self, container_id: str) -> int:
        """How many of a container's processes the kernel has killed for memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        text = _read(self._path("memory", container_id) / name) if self.available else ""
        counts = dict(line.split() for line in text.splitlines() if len(line.split()) == 2)
        return int(counts.get("oom_kill", 0))

    def remove(self, container_id: str) -> None:
        """Forget a container's groups; one that is still in use is left for the next time."""
        for path in self.directories(container_id):
            with contextlib.suppress(OSError):
                os.rmdir(path)

    def sweep(self) -> None:
        """Remove what runtimes that were killed have left, and in which nothing lives."""
        for base in dict.fromkeys(self.bases.values()):
            for other in base.parent.glob(f"{_NAME}*"):
                pid = other.name.removeprefix(_NAME)
                if not (pid.isdecimal() and Path("/proc", pid).exists()):
                    _remove(other)

    def close(self) -> None:
        """Remove all of its own."""
        for base in dict.fromkeys(self.bases.values()):
            _remove(base)

    def _path(self, controller: str, container_id: str) -> Path:
        return self.bases[controller] / container_id

    def _memory_used(self, container_id: str) -> int:
        if not self.available:
            return 0
        name = "memory.current" if self.version == 2 else "memory.usage_in_bytes"
        return int(_read(self._path("memory", container_id) / name).strip() or 0)

    def _write(self, container_id: str, resources: cri.LinuxContainerResources) -> None:
        values = _values_v2(resources) if self.version == 2 else _values_v1(resources)
        for controller, base in self.bases.items():
            for name, value in values[controller]:
                (base / container_id / name).write_text(value)


def _values_v1(resources: cri.LinuxContainerResources) -> dict[str, list[tuple[str, str]]]:
    quota = resources.cpu_quota if resources.cpu_quota > 0 else -1
    cpu = [
        ("cpu.shares", str(max(2, resources.cpu_shares))),
        ("cpu.cfs_period_us", str(resources.cpu_period or 100_000)),
        ("cpu.cfs_quota_us", str(max(1000, quota) if quota > 0 else -1)),
    ]
    limit = resources.memory_limit_in_bytes
    return {"cpu": cpu, "memory": [("memory.limit_in_bytes", str(limit if limit > 0 else -1))]}


def _values_v2(resources: cri.LinuxContainerResources) -> dict[str, list[tuple[str, str]]]:
    quota = str(max(1000, resources.cpu_quota)) if resources.cpu_quota > 0 else "max"
    shares = max(2, resources.cpu_shares)
    cpu = [
        ("cpu.weight", str(1 + ((shares - 2) * 9999) // 262142)),
        ("cpu.max", f"{quota} {resources.cpu_period or 100_000}"),
    ]
    limit = resources.memory_limit_in_bytes
    # As upstream: one process out of memory takes the whole container with it.
    memory = [("memory.max", str(limit) if limit > 0 else "max"), ("memory.oom.group", "1")]
    return {"cpu": cpu, "memory": memory}


def find_cgroups(pid: int, mount: Path = _MOUNT, own: Path = _OWN) -> Cgroups:
    """The groups that the runtime with that process ID may use; makes the directory of its own."""
    name = f"{_NAME}{pid}"
    found = _version_2(mount, name)
    if found is None:
        found = _version_1(mount, own, name)
    return found or Cgroups()


def _version_2(mount: Path, name: str) -> Cgroups | None:
    controllers = _read(mount / "cgroup.controllers").split()
    if not set(_CONTROLLERS) <= set(controllers):
        return None
    base = mount / name
    try:
        base.mkdir(exist_ok=True)
        wanted = " ".join(f"+{controller}" for controller in _CONTROLLERS)
        (mount / "cgroup.subtree_control").write_text(wanted)
        (base / "cgroup.subtree_control").write_text(wanted)
    except OSError:
        with contextlib.suppress(OSError):
            base.rmdir()
        return Cgroups()
    return Cgroups(2, dict.fromkeys(_CONTROLLERS, base))


def _version_1(mount: Path, own: Path, name: str) -> Cgroups | None:
    paths: dict[str, str] = {}
    for line in _read(own).splitlines():
        _number, names, path = line.split(":", 2)
        paths |= dict.fromkeys(names.split(","), path)
    bases: dict[str, Path] = {}
    for controller in _CONTROLLERS:
        base = mount / controller / paths.get(controller, "/").lstrip("/") / name
        try:
            base.mkdir(exist_ok=True)
        except OSError:
            for made in bases.values():
                made.rmdir()
            return None
        bases[controller] = base
    return Cgroups(1, bases)


def _remove(base: Path) -> None:
    """Remove a runtime's directory, as far as nothing lives in it."""
    with contextlib.suppress(OSError):
        for path in base.iterdir():
            if path.is_dir():
                with contextlib.suppress(OSError):
                    path.rmdir()
        base.rmdir()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
