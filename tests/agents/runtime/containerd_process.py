"""A containerd of ours as a real process, with the same handles as the process runtime's."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from agents.runtime import linux
from kubraft.containerd_programs import MissingProgramsError, containerd_programs
from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.runtime.runtime_process import ROOT, Cri, is_alive, until

_SUBNETS = 4096


def require_containerd() -> None:
    """Skip where this machine cannot run it; CI refuses skips."""
    try:
        containerd_programs()
    except MissingProgramsError as error:
        pytest.skip(f"no containerd: {error}")


class Subnet:
    """A /24 that no other test of this machine has, while it is held."""

    def __init__(self) -> None:
        start = uuid.uuid4().int
        for number in ((start + n) % _SUBNETS for n in range(_SUBNETS)):
            path = Path(tempfile.gettempdir()) / f"kubraft-test-subnet-{number}.lock"
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            self._handle, self._path, self.number = handle, path, number
            self.cidr = f"10.{32 + number // 256}.{number % 256}.0/24"
            return
        raise AssertionError("all subnets are taken")

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._handle)


class ContainerdProcess:
    """`agents.containerd` as tests drive it."""

    name = "containerd"
    extra: tuple[str, ...] = ()

    def __init__(self, folder: Path, images: Path) -> None:
        """`images`: where built-in ones are kept; others may share it."""
        self._images = images
        self.root = folder / "root"
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._sockets = tempfile.TemporaryDirectory(prefix="cri")
        self.endpoint = f"unix://{self._sockets.name}/s"
        self.subnet = Subnet()
        self.cidr = self.subnet.cidr
        self.bridge = f"kbt{self.subnet.number}"
        self.cgroup = f"/kubraft-test-{self.subnet.number}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "agents.containerd", "--listen", self.endpoint),
            *("--root-dir", str(self.root), "--pod-cidr", self.cidr, "--bridge", self.bridge),
            *("--cgroup-root", self.cgroup, "--image-dir", str(self._images), "--offline"),
            *self.extra,
        ]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        log = self.logs / "runtime.log"
        size = log.stat().st_size if log.exists() else 0
        with log.open("ab") as file:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - a fork and no more
                self.command,
                cwd=ROOT,
                stderr=file,
                stdout=file,
                # It tidies up even where pytest is killed.
                preexec_fn=lambda: linux.set_parent_death_signal(signal.SIGTERM),  # noqa: PLW1509
            )

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, log.read_text()
            return b"event=ready" in log.read_bytes()[size:]

        await until(ready, 60)

    def daemon(self) -> int:
        """containerd's own pid, which is not the one that `start` started."""
        # Its children are it too, until they have become something else.
        return min(pid for pid in self.marked() if _program(pid) == "containerd")

    def programs(self) -> set[str]:
        """What runs in the machine, by name."""
        return {_program(pid) for pid in self.marked()}

    def marked(self) -> list[int]:
        """The machine's processes: its first one and all below it."""
        return [pid for pid in _descendants(self.pid) if is_alive(pid)]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def remove(self) -> None:
        """Tidy up after a kill, as `kubraft down` does."""
        subprocess.run([*self.command, "--remove"], cwd=ROOT, check=True, timeout=60)

    async def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, 30)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Cri]:
        """A client; what was made with it is removed."""
        client = ContainerdCri(self.endpoint, self.logs, self.cgroup)
        try:
            yield client
        finally:
            await client.channel.close(None)
            await self.remove_sandboxes()
            for folder in self.logs.iterdir():
                if folder.is_dir():
                    shutil.rmtree(folder)

    async def remove_sandboxes(self) -> None:
        client = ContainerdCri(self.endpoint, self.logs, self.cgroup)
        deadline_s = time.monotonic() + 30
        while True:
            try:
                found = await client.runtime.ListPodSandbox(cri.ListPodSandboxRequest())
                for sandbox in found.items:
                    request = cri.RemovePodSandboxRequest(pod_sandbox_id=sandbox.id)
                    await client.runtime.RemovePodSandbox(request)
                break
            except grpc.aio.AioRpcError:
                # An agent that was killed may have left a removal half done.
                if time.monotonic() > deadline_s:
                    raise
                await asyncio.sleep(0.2)
        await client.channel.close(None)

    def close(self) -> None:
        try:
            if self.process is not None and self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(30)
                except subprocess.TimeoutExpired:
                    self.kill()
            self.remove()
        finally:
            self._sockets.cleanup()
            self.subnet.close()


class ContainerdCri(Cri):
    """Calls with what containerd wants besides: a cgroup, and images that were pulled."""

    def __init__(self, endpoint: str, logs: Path, cgroup: str) -> None:
        super().__init__(endpoint, logs)
        self._cgroup = cgroup

    def sandbox_config(self, name: str = "web", attempt: int = 0) -> Any:
        config = super().sandbox_config(name, attempt)
        config.linux.cgroup_parent = self._cgroup
        return config


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def _descendants(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    found = [int(word) for word in text.split()]
    return [*found, *(below for child in found for below in _descendants(child))]
