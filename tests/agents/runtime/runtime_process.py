"""The runtime as a real process, and a CRI client of it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from agents.runtime.leftovers import marked_processes
from kubraft.pb.criv1 import api_pb2 as cri
from kubraft.pb.criv1 import api_pb2_grpc as cri_grpc

ROOT = Path(__file__).resolve().parent.parent.parent.parent


async def until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] not in "ZX"


class RuntimeProcess:
    """One runtime; `cidr` is a loopback range that no other test uses."""

    name = "process"
    cgroup = ""

    def __init__(
        self, folder: Path, *, isolation: str = "auto", prefix: tuple[str, ...] = ()
    ) -> None:
        self.root = folder / "root"
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        # pytest's folders are longer than a socket's path may be.
        self._sockets = tempfile.TemporaryDirectory(prefix="cri")
        Path(self._sockets.name).chmod(0o777)
        self.endpoint = f"unix://{self._sockets.name}/s"
        number = uuid.uuid4().int
        self.cidr = f"127.{100 + number % 100}.{(number >> 32) % 256}.0/24"
        self._isolation = isolation
        self._prefix = prefix
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        command = [
            *self._prefix,
            *(sys.executable, "-m", "agents.runtime", "--listen", self.endpoint),
            *("--root-dir", str(self.root), "--pod-cidr", self.cidr),
            *("--isolation", self._isolation),
        ]
        log = self.logs / "runtime.log"
        size = log.stat().st_size if log.exists() else 0
        with log.open("ab") as file:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - a fork and no more
                command, cwd=ROOT, stderr=file, stdout=file
            )

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, log.read_text()
            return b"event=ready" in log.read_bytes()[size:]

        await until(ready, 60)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, 10)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self._sockets.cleanup()

    def marked(self) -> list[int]:
        return [pid for pid in marked_processes(str(self.root.resolve())) if is_alive(pid)]


class Cri:
    """Short forms of the calls that tests make."""

    def __init__(self, endpoint: str, logs: Path) -> None:
        self.channel = grpc.aio.insecure_channel(endpoint)
        self.runtime = cri_grpc.RuntimeServiceStub(self.channel)
        self.images = cri_grpc.ImageServiceStub(self.channel)
        self._logs = logs

    def sandbox_config(self, name: str = "web", attempt: int = 0) -> cri.PodSandboxConfig:
        return cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(
                name=name, uid=f"uid-{name}", namespace="default", attempt=attempt
            ),
            hostname=name,
            log_directory=str(self._logs / name),
            labels={"io.kubernetes.pod.name": name},
        )

    async def sandbox(self, name: str = "web", attempt: int = 0) -> str:
        request = cri.RunPodSandboxRequest(config=self.sandbox_config(name, attempt))
        return (await self.runtime.RunPodSandbox(request)).pod_sandbox_id

    async def create(
        self,
        sandbox: str,
        *command: str,
        name: str = "main",
        image: str = "busybox",
        attempt: int = 0,
        **config: Any,
    ) -> str:
        spec = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name=name, attempt=attempt),
            image=cri.ImageSpec(image=image),
            command=command,
            log_path=f"{name}/{attempt}.log",
            **config,
        )
        for folder in self._logs.iterdir():
            if folder.is_dir():
                (folder / name).mkdir(exist_ok=True)
        # CRI promises nothing for an image that was not pulled, nor without the sandbox's config.
        await self.images.PullImage(cri.PullImageRequest(image=spec.image))
        request = cri.CreateContainerRequest(
            pod_sandbox_id=sandbox, config=spec, sandbox_config=await self._config_of(sandbox)
        )
        return (await self.runtime.CreateContainer(request)).container_id

    async def _config_of(self, sandbox: str) -> cri.PodSandboxConfig:
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox)
        try:
            metadata = (await self.runtime.PodSandboxStatus(request)).status.metadata
        except grpc.aio.AioRpcError:
            return self.sandbox_config()
        return self.sandbox_config(metadata.name, metadata.attempt)

    async def start(self, container: str) -> None:
        await self.runtime.StartContainer(cri.StartContainerRequest(container_id=container))

    async def run(self, sandbox: str, *command: str, **options: object) -> str:
        container = await self.create(sandbox, *command, **options)  # type: ignore[arg-type]
        await self.start(container)
        return container

    async def stop(self, container: str, timeout_s: int = 0) -> None:
        request = cri.StopContainerRequest(container_id=container, timeout=timeout_s)
        await self.runtime.StopContainer(request)

    async def status(self, container: str) -> cri.ContainerStatus:
        request = cri.ContainerStatusRequest(container_id=container)
        return (await self.runtime.ContainerStatus(request)).status

    async def pid(self, container: str) -> int:
        import json

        request = cri.ContainerStatusRequest(container_id=container, verbose=True)
        info = (await self.runtime.ContainerStatus(request)).info
        return int(json.loads(info["info"])["pid"])

    async def exited(self, container: str, timeout_s: float = 10.0) -> cri.ContainerStatus:
        deadline = time.monotonic() + timeout_s
        while (status := await self.status(container)).state != cri.CONTAINER_EXITED:
            assert time.monotonic() < deadline, "the container did not exit in time"
            await asyncio.sleep(0.01)
        return status

    async def execute(self, container: str, *cmd: str, timeout_s: int = 0) -> cri.ExecSyncResponse:
        request = cri.ExecSyncRequest(container_id=container, cmd=cmd, timeout=timeout_s)
        return await self.runtime.ExecSync(request)

    async def address(self, sandbox: str) -> str:
        request = cri.PodSandboxStatusRequest(pod_sandbox_id=sandbox)
        return (await self.runtime.PodSandboxStatus(request)).status.network.ip

    def log(self, name: str = "web", container: str = "main", attempt: int = 0) -> str:
        return (self._logs / name / container / f"{attempt}.log").read_text()

    def lines(self, name: str = "web", container: str = "main", attempt: int = 0) -> list[str]:
        """The text of a container's log, without times and streams."""
        return [line.split(" ", 3)[3] for line in self.log(name, container, attempt).splitlines()]


@contextlib.asynccontextmanager
async def running(folder: Path, **options: object) -> AsyncIterator[tuple[RuntimeProcess, Cri]]:
    process = RuntimeProcess(folder, **options)  # type: ignore[arg-type]
    try:
        await process.start()
        client = Cri(process.endpoint, process.logs)
        try:
            yield process, client
        finally:
            await client.channel.close(None)
    finally:
        process.close()
