"""Containers that see each other's processes, a container's, or the host's."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest

from agents.runtime.process_tree import children
from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.runtime.runtime_process import Cri, running, until
from tests.agents.runtime.test_no_orphans import sleepers

pytestmark = pytest.mark.e2e
SECONDS, HOSTS_SECONDS, LEFT_SECONDS = "7654321", "7654323", "7654324"
# Prints the command of each process here, and then its own number.
LOOK = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done; echo me $$"


def sees(pid: Any, target: str = "") -> cri.LinuxContainerConfig:
    options = cri.NamespaceOption(pid=pid, target_id=target)
    security = cri.LinuxContainerSecurityContext(namespace_options=options)
    return cri.LinuxContainerConfig(security_context=security)


async def test_containers_of_a_pod_that_shares_its_processes(client: Cri) -> None:
    sandbox = await client.sandbox()
    shared = sees(cri.POD)
    sleeper = await client.run(sandbox, "sleep", SECONDS, name="sleeper", linux=shared)
    look = f"{LOOK}; cat /proc/1/comm; "
    look += "kill -TERM $(grep -l ^sleep /proc/[0-9]*/comm | cut -d/ -f3)"
    looker = await client.run(sandbox, "sh", "-c", look, name="looker", linux=shared)
    assert (await client.exited(looker)).exit_code == 0
    *commands, me, first = client.lines(container="looker")
    assert f"sleep {SECONDS} " in commands
    assert me != "me 1"
    assert first == "container-init"
    # And may signal it; the Pod goes on.
    assert (await client.exited(sleeper)).exit_code == 143
    again = await client.run(sandbox, "sleep", SECONDS, name="again", linux=shared)
    pid = await client.pid(again)
    await client.runtime.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    await until(lambda: not Path(f"/proc/{pid}").exists())


async def test_a_debug_container_sees_its_target_and_ends_with_it(client: Cri) -> None:
    sandbox = await client.sandbox()
    own = sees(cri.CONTAINER)
    target = await client.run(sandbox, "sleep", SECONDS, name="target", linux=own)
    await client.run(sandbox, "sleep", "7654322", name="other", linux=own)
    debug = await client.run(
        sandbox, "sh", "-c", f"{LOOK}; sleep 1000", name="debug", linux=sees(cri.TARGET, target)
    )
    await until(lambda: any(line.startswith("me") for line in client.lines(container="debug")))
    commands = client.lines(container="debug")
    assert f"sleep {SECONDS} " in commands
    assert "sleep 7654322 " not in commands
    await client.stop(target)
    assert (await client.exited(debug)).exit_code == 137
    with pytest.raises(grpc.aio.AioRpcError, match="invalid target container"):
        await client.create(sandbox, "true", name="late", linux=sees(cri.TARGET, target))


async def test_a_container_with_the_hosts_processes(client: Cri) -> None:
    sandbox = await client.sandbox()
    command = (
        "sh",
        "-c",
        f"test -d /proc/{os.getpid()}; echo $?; setsid sleep {HOSTS_SECONDS} & wait",
    )
    container = await client.run(sandbox, *command, name="host", linux=sees(cri.NODE))
    await until(lambda: client.lines(container="host") == ["0"] and bool(sleepers(HOSTS_SECONDS)))
    await client.stop(container)
    await until(lambda: not sleepers(HOSTS_SECONDS))


async def test_nothing_of_a_shared_namespace_outlives_runtime_or_sandbox(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, client):
        shared = sees(cri.POD)
        daemon = f"setsid sleep {LEFT_SECONDS} & sleep {LEFT_SECONDS}"
        sandbox = await client.sandbox()
        container = await client.run(sandbox, "sh", "-c", daemon, linux=shared)
        await until(lambda: len(sleepers(LEFT_SECONDS)) == 2)
        (nursery,) = children(process.pid)
        init = await client.pid(container)
        (first,) = [pid for pid in children(nursery) if pid != init]
        os.kill(first, signal.SIGKILL)
        assert (await client.exited(container)).exit_code == 137
        await until(lambda: not sleepers(LEFT_SECONDS))
        (item,) = (await client.runtime.ListPodSandbox(cri.ListPodSandboxRequest())).items
        assert item.state == cri.SANDBOX_NOTREADY  # so that the agent makes another
        await client.run(await client.sandbox(attempt=1), "sh", "-c", daemon, linux=shared)
        await until(lambda: len(sleepers(LEFT_SECONDS)) == 2)
        process.kill()
        await until(lambda: not sleepers(LEFT_SECONDS) and not process.marked())
