"""Whatever is killed, no process of a container outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from agents.runtime.process_tree import children, descendants
from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.runtime.runtime_process import Cri, RuntimeProcess, is_alive, running, until

pytestmark = pytest.mark.e2e

Node = tuple[RuntimeProcess, Cri]


@pytest.fixture(params=["auto", "none"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Node]:
    async with running(tmp_path, isolation=request.param) as pair:
        yield pair


def sleepers(seconds: str) -> list[int]:
    """The processes that sleep for exactly that (otherwise unused) time."""
    found = []
    for name in (path.name for path in Path("/proc").iterdir() if path.name.isdigit()):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", seconds.encode()] and is_alive(int(name)):
            found.append(int(name))
    return found


async def container_with_daemons(client: Cri) -> tuple[str, str]:
    """A container with a grandchild that left its session, its parent and its environment."""
    seconds = str(100_000 + uuid.uuid4().int % 100_000_000)
    command = (
        f'setsid sleep {seconds} & (setsid env -i /bin/sh -c \'trap "" TERM HUP; '
        f"/bin/sleep 0; exec sleep {seconds}' &) ; sleep {seconds}; true"
    )
    container = await client.run(await client.sandbox(), "sh", "-c", command)
    await until(lambda: len(sleepers(seconds)) == 3)
    return container, seconds


async def test_sigkill_of_the_runtime(node: Node) -> None:
    process, client = node
    _, seconds = await container_with_daemons(client)
    process.kill()
    await until(lambda: not sleepers(seconds) and not process.marked())


async def test_sigkill_of_the_nursery_ends_the_runtime_and_all_containers(node: Node) -> None:
    process, client = node
    _, seconds = await container_with_daemons(client)
    (nursery,) = children(process.pid)
    os.kill(nursery, signal.SIGKILL)
    await until(lambda: not sleepers(seconds) and not process.marked())
    assert process.process is not None
    assert await asyncio.to_thread(process.process.wait, 10) == 1
    log = (process.logs / "runtime.log").read_text()
    assert "agents.runtime: the container supervisor died" in log
    assert "Traceback" not in log


async def test_sigkill_of_a_containers_program(node: Node) -> None:
    _, client = node
    container, seconds = await container_with_daemons(client)
    init = await client.pid(container)
    (program,) = [pid for pid in children(init) if Path(f"/proc/{pid}/comm").read_text() == "sh\n"]
    os.kill(program, signal.SIGKILL)
    assert (await client.exited(container)).exit_code == 137
    assert not sleepers(seconds)


async def test_sigkill_of_a_containers_first_process(node: Node) -> None:
    _, client = node
    container, seconds = await container_with_daemons(client)
    os.kill(await client.pid(container), signal.SIGKILL)
    assert (await client.exited(container)).exit_code == 137
    await until(lambda: not sleepers(seconds))


async def test_a_program_that_ends_takes_its_daemons_along(node: Node) -> None:
    _, client = node
    container, seconds = await container_with_daemons(client)
    await client.stop(container, 1)
    assert not sleepers(seconds)


async def test_a_stopped_container_can_be_killed(node: Node) -> None:
    _, client = node
    container, seconds = await container_with_daemons(client)
    for pid in descendants(await client.pid(container)):
        os.kill(pid, signal.SIGSTOP)
    await client.stop(container, 1)
    assert not sleepers(seconds)


async def test_clean_stop(node: Node) -> None:
    process, client = node
    _, seconds = await container_with_daemons(client)
    assert await process.stop() == 0
    assert not sleepers(seconds)
    assert not process.marked()


async def test_a_new_run_knows_what_the_killed_one_had(node: Node) -> None:
    process, client = node
    container, seconds = await container_with_daemons(client)
    sandbox = (await client.runtime.ListPodSandbox(cri.ListPodSandboxRequest())).items[0].id
    done = await client.run(sandbox, "sh", "-c", "exit 4", name="done")
    await client.exited(done)
    process.kill()
    await process.start()
    assert not sleepers(seconds)
    again = Cri(process.endpoint, process.logs)
    try:
        status = await again.status(container)
        assert (status.state, status.exit_code, status.reason) == (2, 255, "Unknown")
        assert (await again.status(done)).exit_code == 4
        (item,) = (await again.runtime.ListPodSandbox(cri.ListPodSandboxRequest())).items
        assert (item.id, item.state) == (sandbox, cri.SANDBOX_NOTREADY)
        with pytest.raises(grpc.aio.AioRpcError, match="is not running"):
            await again.create(sandbox, "true", name="late")
        fresh = await again.sandbox(attempt=1)
        assert await again.run(fresh, "true")
    finally:
        await again.channel.close(None)


async def test_a_second_runtime_on_the_same_directory_is_refused(
    node: Node, tmp_path: Path
) -> None:
    process, _ = node
    other = RuntimeProcess(tmp_path)
    with pytest.raises(AssertionError, match="another runtime uses it"):
        await other.start()
    other.close()
    assert process.process is not None
    assert process.process.poll() is None
