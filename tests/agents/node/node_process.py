"""A node (runtime and agent as real processes) beside a real API server on a real etcd."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from kubraft.api.errors import AlreadyExistsError, BadRequestError, NotFoundError
from kubraft.api.gvk import EVENT, POD
from kubraft.api.object import Object
from kubraft.api.pods import is_pod_ready
from kubraft.client.client import ApiClient
from tests.agents.runtime.containerd_process import ContainerdProcess
from tests.agents.runtime.runtime_process import RuntimeProcess
from tests.harness.api import ApiUnderTest, ProcessUnderTest
from tests.harness.ports import free_port

AnyRuntime = RuntimeProcess | ContainerdProcess

# Short enough for a test to see several rounds.
AGENT_FLAGS = (
    "--node-lease-duration=4s",
    "--node-status-update-frequency=1s",
    "--restart-backoff-base=500ms",
    "--restart-backoff-max=2s",
    "--eviction-hard=memory.available<100Mi,pid.available<5%",  # whatever the disk
)


class Node:
    """One node and a client that makes Pods on it."""

    def __init__(
        self,
        api: ApiUnderTest,
        runtime: AnyRuntime,
        folder: Path,
        name: str,
        flags: tuple[str, ...] = (),
    ) -> None:
        self.api = api
        self.name = name
        self.runtime = runtime
        self.client: ApiClient = api.client("admin")
        self.root: Path = folder / "agent"
        files = {"cert": api.pki / f"{name}-server.crt", "key": api.pki / f"{name}-server.key"}
        self.port = free_port()
        command = [
            "agents.node",
            *(f"--name={name}", *api.agent_flags(name), f"--root-dir={self.root}"),
            *(f"--runtime-endpoint={runtime.endpoint}", f"--port={self.port}"),
            *(f"--tls-cert-file={files['cert']}", f"--tls-private-key-file={files['key']}"),
            *(f"--client-ca-file={api.pki / 'ca.crt'}", f"--pod-cidr={runtime.cidr}"),
            *([f"--cgroup-root={runtime.cgroup}"] if runtime.cgroup else []),
            *AGENT_FLAGS,
            *flags,
        ]
        self.agent = ProcessUnderTest(f"agent-{name}", command, folder)

    async def run(self, pod: Object) -> Object:
        """Create a Pod that is bound to this node."""
        return await self.client.create(pod)

    async def get(self, name: str) -> Object:
        return await self.client.get(POD, name, "default")

    async def until(
        self, name: str, condition: Callable[[Object], object], timeout_s: float = 20.0
    ) -> Object:
        deadline = time.monotonic() + timeout_s
        while not condition(pod := await self.get(name)):
            if time.monotonic() > deadline:
                log = self.agent.log()[-3000:]
                raise AssertionError(f"not in time: {pod.get('status')}\n{log}")
            await asyncio.sleep(0.05)
        return pod

    async def until_ready(self, name: str) -> Object:
        return await self.until(name, is_pod_ready)

    async def until_gone(self, name: str, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(NotFoundError):
            while pod := await self.get(name):
                assert time.monotonic() < deadline, pod
                await asyncio.sleep(0.05)

    async def events(self, name: str) -> list[tuple[str, str]]:
        """Reason and message of the Pod's events."""
        found = await self.client.list(
            EVENT, "default", field_selector=f"involvedObject.name={name}"
        )
        return [(event["reason"], event["message"]) for event in found.items]

    async def until_event(self, name: str, reason: str, text: str, timeout_s: float = 15.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not any(r == reason and text in m for r, m in await self.events(name)):
            assert time.monotonic() < deadline, await self.events(name)
            await asyncio.sleep(0.05)

    async def logs(self, name: str, **options: Any) -> str:
        chunks = [chunk async for chunk in self.client.logs(name, "default", **options)]
        return b"".join(chunks).decode()

    async def until_logs(
        self, name: str, text: str, container: str = "main", timeout_s: float = 20.0
    ) -> None:
        """Wait until the container wrote just this: it may be ready before it writes."""
        deadline = time.monotonic() + timeout_s
        found = ""
        while found != text:
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.05)
            with contextlib.suppress(BadRequestError):  # there is no log yet
                found = await self.logs(name, container=container)

    def pod(self, name: str, *command: str, image: str = "busybox", **spec: Any) -> Object:
        """A Pod of one container, `main`; `container` and `metadata` are merged in."""
        container = {"name": "main", "image": image, **spec.pop("container", {})}
        if command:
            container["command"] = list(command)
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", **spec.pop("metadata", {})},
            "spec": {
                "nodeName": self.name,
                "terminationGracePeriodSeconds": 2,
                "containers": [container],
                **spec,
            },
        }


@contextlib.asynccontextmanager
async def running_node(
    api: ApiUnderTest,
    folder: Path,
    name: str = "node-0",
    flags: tuple[str, ...] = (),
    runtime: ContainerdProcess | None = None,
) -> AsyncIterator[Node]:
    """A node on an embedded runtime of its own, or on a containerd that runs."""
    folder.mkdir(parents=True, exist_ok=True)
    async with _embedded(folder) if runtime is None else _shared(runtime) as runs:
        node = Node(api, runs, folder, name, flags)
        node.agent.start()
        try:
            await asyncio.to_thread(node.agent.wait_ready)
            await make_account(node.client, (api.pki / "ca.crt").read_text())
            yield node
        finally:
            node.agent.kill()
            await node.client.close()


@contextlib.asynccontextmanager
async def _embedded(folder: Path) -> AsyncIterator[AnyRuntime]:
    runtime = RuntimeProcess(folder)
    try:
        await runtime.start()
        yield runtime
    finally:
        runtime.close()


@contextlib.asynccontextmanager
async def _shared(runtime: ContainerdProcess) -> AsyncIterator[AnyRuntime]:
    """Nothing of one test is left for the next."""
    try:
        yield runtime
    finally:
        await runtime.remove_sandboxes()


async def make_account(client: ApiClient, ca: str) -> None:
    """What the controller manager makes in every namespace, and every Pod needs."""
    metadata = {"namespace": "default"}
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {**metadata, "name": "default"},
    }
    root_ca = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**metadata, "name": "kube-root-ca.crt"},
        "data": {"ca.crt": ca},
    }
    for obj in (account, root_ca):
        with contextlib.suppress(AlreadyExistsError):
            await client.create(obj)


def state(pod: Object, name: str = "main", kind: str = "containerStatuses") -> Object:
    """A container's status, {} before there is one."""
    for status in (pod.get("status") or {}).get(kind) or ():
        if status["name"] == name:
            found: Object = status
            return found
    return {}
