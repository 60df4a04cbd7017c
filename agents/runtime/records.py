"""What the runtime knows of sandboxes and containers, and the part of it that survives a restart.

A record is its CRI status message (which holds no environment) with a few values beside it. After a
restart no container lives: those that ran are shown as exited, their sandboxes as not ready, so
that the node agent starts them anew with their restart counts.

On disk: ROOT/sandboxes/ID.pb and ROOT/containers/ID/status.pb, each replaced by rename.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError

from agents.runtime.errors import RuntimeFailure
from agents.runtime.launch import Launch
from agents.runtime.output import LogPump
from agents.runtime.spawner import ContainerProcess
from kubraft.pb.criv1 import api_pb2 as cri

# How containerd calls a container whose end it did not see.
UNKNOWN_EXIT_CODE = 255
UNKNOWN_REASON = "Unknown"


@dataclass(slots=True)
class Sandbox:
    """A Pod's sandbox."""

    status: cri.PodSandboxStatus
    hostname: str = ""
    log_directory: str = ""

    @property
    def id(self) -> str:
        """Its id."""
        return self.status.id

    @property
    def ready(self) -> bool:
        """Whether containers may be started in it."""
        return self.status.state == cri.SANDBOX_READY


@dataclass(slots=True)
class Container:
    """A container in any state; `process` exists while it runs."""

    status: cri.ContainerStatus
    sandbox_id: str
    launch: Launch | None = None  # None after a restart of the runtime: it can start no more
    start: asyncio.Task[RuntimeFailure | None] | None = None
    process: ContainerProcess | None = None
    pump: LogPump | None = None
    stdin_write: int = -1  # of its input, or its terminal; -1 where it has none, or no more
    ended: asyncio.Event = field(default_factory=asyncio.Event)  # its end is recorded

    @property
    def id(self) -> str:
        """Its id."""
        return self.status.id

    def close_input(self) -> None:
        """Let its program see the end of its input."""
        if self.stdin_write >= 0:
            os.close(self.stdin_write)
            self.stdin_write = -1


class RecordFiles:
    """The directory that the records live in."""

    def __init__(self, root: Path) -> None:
        self._sandboxes = root / "sandboxes"
        self._containers = root / "containers"
        for folder in (self._sandboxes, self._containers):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def container_directory(self, container_id: str) -> Path:
        """Where a container's own files are."""
        return self._containers / container_id

    def sandbox_directory(self, sandbox_id: str) -> Path:
        """Where the files are that a sandbox's containers share."""
        return self._sandboxes / sandbox_id

    def save_sandbox(self, sandbox: Sandbox) -> None:
        """Keep a sandbox over a restart."""
        _replace(self._sandboxes / f"{sandbox.id}.pb", sandbox.status.SerializeToString())

    def save_container(self, container: Container) -> None:
        """Keep a container over a restart."""
        # A container names its sandbox nowhere in its CRI status: it is the first line.
        data = container.sandbox_id.encode() + b"\n" + container.status.SerializeToString()
        _replace(self._containers / container.id / "status.pb", data)

    def remove_sandbox(self, sandbox_id: str) -> None:
        """Forget a sandbox."""
        (self._sandboxes / f"{sandbox_id}.pb").unlink(missing_ok=True)
        shutil.rmtree(self.sandbox_directory(sandbox_id), ignore_errors=True)

    def remove_container(self, container_id: str) -> None:
        """Forget a container, its files included."""
        shutil.rmtree(self._containers / container_id, ignore_errors=True)

    def load(self, now_ns: int) -> tuple[list[Sandbox], list[Container]]:
        """What a former life left, all of it ended; unreadable records are dropped."""
        sandboxes = {}
        for path in self._sandboxes.glob("*.pb"):
            status = cri.PodSandboxStatus()
            try:
                status.ParseFromString(path.read_bytes())
            except (OSError, DecodeError):
                status.Clear()
            if status.id != path.stem:  # nothing at all is a message too
                path.unlink(missing_ok=True)
                continue
            status.state = cri.SANDBOX_NOTREADY
            sandboxes[status.id] = Sandbox(status)
        for path in self._sandboxes.iterdir():
            if path.is_dir() and path.name not in sandboxes:
                shutil.rmtree(path, ignore_errors=True)
        containers = []
        for path in self._containers.iterdir():
            container = _load_container(path, now_ns)
            if container is None or container.sandbox_id not in sandboxes:
                shutil.rmtree(path, ignore_errors=True)
            else:
                containers.append(container)
        return list(sandboxes.values()), containers


def _load_container(path: Path, now_ns: int) -> Container | None:
    status = cri.ContainerStatus()
    try:
        sandbox_id, _newline, data = (path / "status.pb").read_bytes().partition(b"\n")
        status.ParseFromString(data)
    except (OSError, DecodeError):
        return None
    if status.state != cri.CONTAINER_EXITED:
        status.state = cri.CONTAINER_EXITED
        status.exit_code = UNKNOWN_EXIT_CODE
        status.reason = UNKNOWN_REASON
        status.finished_at = now_ns
    return Container(status, sandbox_id.decode())


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True, mode=0o700)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    os.replace(temporary, path)
