"""What containerd brings that the embedded runtime has not, and that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.runtime.containerd_process import (
    ContainerdCri,
    ContainerdProcess,
    require_containerd,
)
from tests.agents.runtime.runtime_process import ROOT, is_alive, until
from tests.agents.runtime.test_streaming import STDERR, STDOUT, V4, attach_url, exec_url
from tests.agents.runtime.test_streaming import connected as websocket

pytestmark = pytest.mark.e2e

GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
async def own(tmp_path: Path, image_cache: Path) -> AsyncIterator[ContainerdProcess]:
    """One for a test that ends it."""
    require_containerd()
    process = ContainerdProcess(tmp_path, image_cache)
    try:
        await process.start()
        yield process
    finally:
        process.close()


async def with_a_pod(process: ContainerdProcess) -> list[int]:
    """Start a container; all processes of the machine."""
    client = ContainerdCri(process.endpoint, process.logs, process.cgroup)
    await client.run(await client.sandbox(), "sleep", "1000")
    await client.channel.close(None)
    return process.marked()


def groups_of(process: ContainerdProcess) -> list[Path]:
    name = process.cgroup.strip("/")
    return [path for path in (GROUPS / name, *GROUPS.glob(f"*/{name}")) if path.exists()]


def ports_of(process: ContainerdProcess) -> list[str]:
    """The interfaces that Pods have on the node's bridge."""
    folder = Path("/sys/class/net", process.bridge, "brif")
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def tables() -> str:
    done = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    return done.stdout


def routes() -> str:
    command = ["ip", "route", "show", "table", "local"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def test_sigkill_leaves_nothing_but_a_record(own: ContainerdProcess) -> None:
    pids = await with_a_pod(own)
    assert {"containerd", "containerd-shim-runc-v2", "sleep"} <= own.programs()
    assert ports_of(own)
    own.kill()
    await until(lambda: not any(map(is_alive, pids)))
    assert str(own.root) not in Path("/proc/mounts").read_text()
    # A namespace goes when its last process does, a little later; its interfaces go with it.
    await until(lambda: not ports_of(own))
    assert groups_of(own)
    await asyncio.to_thread(own.remove)
    assert not Path("/sys/class/net", own.bridge).exists()
    assert not groups_of(own)
    assert own.bridge not in await asyncio.to_thread(tables)

    await own.start()
    async with own.connected() as client:
        (found,) = (await client.runtime.ListContainers(cri.ListContainersRequest())).containers
        status = await client.status(found.id)
        assert (status.state, status.exit_code) == (cri.CONTAINER_EXITED, 255)
        (sandbox,) = (await client.runtime.ListPodSandbox(cri.ListPodSandboxRequest())).items
        assert sandbox.state == cri.SANDBOX_NOTREADY


async def test_a_stop_leaves_nothing_and_the_last_one_takes_the_services_addresses(
    tmp_path: Path,
) -> None:
    require_containerd()
    # A folder of their own: other tests' nodes have no share in these addresses.
    nodes = [ContainerdProcess(tmp_path / name, tmp_path / "images") for name in ("a", "b")]
    network = nodes[0].subnet.cidr.replace("10.", "10.1", 1)  # nobody's: 10.132.0.0 on
    try:
        for node in nodes:
            node.extra = (f"--local-range={network}",)
            await node.start()
        assert network in await asyncio.to_thread(routes)
        pids = await with_a_pod(nodes[0])
        assert await nodes[0].stop() == 0
        assert not any(map(is_alive, pids))
        assert not Path("/sys/class/net", nodes[0].bridge).exists()
        assert not groups_of(nodes[0])
        assert network in await asyncio.to_thread(routes)
        assert await nodes[1].stop() == 0
        assert network not in await asyncio.to_thread(routes)
    finally:
        for node in nodes:
            node.close()


async def test_a_second_one_on_the_same_directory_is_refused(
    containerd: ContainerdProcess,
) -> None:
    done = await asyncio.to_thread(
        subprocess.run, containerd.command, cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "another containerd of ours uses it" in done.stderr


async def test_limits_are_set_and_changed_while_it_runs(containerd: ContainerdProcess) -> None:
    limits = cri.LinuxContainerResources(memory_limit_in_bytes=64 << 20, cpu_shares=2)
    async with containerd.connected() as client:
        linux = cri.LinuxContainerConfig(resources=limits)
        container = await client.run(await client.sandbox(), "sleep", "1000", linux=linux)

        def found() -> set[int]:
            names = ("memory.max", "memory.limit_in_bytes")
            files = [f for top in groups_of(containerd) for f in top.glob(f"{container}/*")]
            return {int(file.read_text()) for file in files if file.name in names}

        assert found() == {64 << 20}
        limits.memory_limit_in_bytes = 128 << 20
        request = cri.UpdateContainerResourcesRequest(container_id=container, linux=limits)
        await client.runtime.UpdateContainerResources(request)
        assert found() == {128 << 20}


async def test_a_program_that_takes_too_much_memory_is_oom_killed(
    containerd: ContainerdProcess,
) -> None:
    limits = cri.LinuxContainerResources(memory_limit_in_bytes=32 << 20)
    program = "x = bytearray(200_000_000); x[::4096] = b'x' * len(x[::4096])"
    async with containerd.connected() as client:
        container = await client.run(
            await client.sandbox(),
            *("python3", "-c", program),
            image="python",
            linux=cri.LinuxContainerConfig(resources=limits),
        )
        status = await client.exited(container, 60)
        assert (status.exit_code, status.reason) == (137, "OOMKilled")


async def test_commands_and_attachments_over_websockets(containerd: ContainerdProcess) -> None:
    async with containerd.connected() as client:
        sandbox = await client.sandbox()
        container = await client.run(
            sandbox, "sh", "-c", "while read line; do echo heard $line; done", stdin=True
        )
        url = await exec_url(client, container, "sh", "-c", "echo out; echo err >&2; exit 3")
        async with websocket(url, V4, origin="http://localhost") as channels:
            status = await channels.end()
        assert (channels.came[STDOUT], channels.came[STDERR]) == (b"out\n", b"err\n")
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
        url = await attach_url(client, container, stdin=True)
        async with websocket(url, V4, origin="http://localhost") as channels:
            await channels.say(0, b"this\n")
            await channels.until(STDOUT, b"heard this\n")
