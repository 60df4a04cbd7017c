"""Limits: the files that are written, and what they do to real programs where they may be made."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from agents.runtime.cgroups import Cgroups, find_cgroups
from agents.runtime.errors import RuntimeFailure
from kubraft.pb.criv1 import api_pb2 as cri
from tests.agents.runtime.runtime_process import Cri

MIB = 1024 * 1024
LIMITS = cri.LinuxContainerResources(
    cpu_shares=512, cpu_period=100_000, cpu_quota=50_000, memory_limit_in_bytes=64 * MIB
)


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_version_1(tmp_path: Path) -> None:
    own = tmp_path / "self"
    own.write_text("4:memory:/outer\n1:cpu:/\n")
    for path in ("mount/memory/outer", "mount/cpu"):
        (tmp_path / path).mkdir(parents=True)
    groups = find_cgroups(7, tmp_path / "mount", own)
    assert groups.version == 1
    memory, cpu = (Path(directory) for directory in groups.directories("c"))
    assert memory.parent.parent == tmp_path / "mount/memory/outer"
    groups.create("c", LIMITS)
    assert files(memory) == {"memory.limit_in_bytes": str(64 * MIB)}
    assert files(cpu) == {
        "cpu.shares": "512",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "50000",
    }
    groups.update("c", cri.LinuxContainerResources(cpu_shares=2))
    assert files(memory) == {"memory.limit_in_bytes": "-1"}
    assert files(cpu)["cpu.cfs_quota_us"] == "-1"


def test_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    groups = find_cgroups(7, tmp_path, tmp_path / "self")
    assert groups.version == 2
    (folder,) = (Path(directory) for directory in groups.directories("c"))
    assert (folder.parent / "cgroup.subtree_control").read_text() == "+memory +cpu"
    groups.create("c", LIMITS)
    assert files(folder) == {
        "cpu.weight": "20",
        "cpu.max": "50000 100000",
        "memory.max": str(64 * MIB),
        "memory.oom.group": "1",
    }
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 3\n")
    assert groups.oom_kills("c") == 3
    (folder / "memory.current").write_text("1000\n")
    with pytest.raises(RuntimeFailure, match=r"memory limit \(999\) below current usage \(1000\)"):
        groups.update("c", cri.LinuxContainerResources(memory_limit_in_bytes=999))


def test_where_there_are_none_nothing_is_written(tmp_path: Path) -> None:
    groups = find_cgroups(7, tmp_path / "nowhere", tmp_path / "self")
    assert groups == Cgroups()
    groups.create("c", LIMITS)
    assert groups.oom_kills("c") == 0
    groups.close()


def test_what_a_killed_runtime_left_goes_when_another_starts(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name in (f"kubraft-{gone.pid}/c", f"kubraft-{os.getppid()}/c", "kubraft-0a1b/c", "other"):
        (tmp_path / name).mkdir(parents=True)
    groups = find_cgroups(os.getpid(), tmp_path, tmp_path / "self")
    groups.sweep()
    left = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert left == {f"kubraft-{os.getppid()}", f"kubraft-{os.getpid()}", "other"}


async def have_cgroups(node: Cri) -> bool:
    status = await node.runtime.Status(cri.StatusRequest(verbose=True))
    return bool(json.loads(status.info["config"])["cgroups"])


def limited(**values: Any) -> cri.LinuxContainerConfig:
    return cri.LinuxContainerConfig(resources=cri.LinuxContainerResources(**values))


async def test_a_container_that_takes_more_memory_than_it_may_is_killed(client: Cri) -> None:
    node = client
    sandbox = await node.sandbox()
    program = "x = bytearray(200_000_000); x[::4096] = b'x' * len(x[::4096])"
    container = await node.run(
        sandbox,
        *("python3", "-c", program),
        image="python",
        linux=limited(memory_limit_in_bytes=64 * MIB),
    )
    status = await node.exited(container, timeout_s=60)
    told = (status.exit_code, status.reason)
    assert told == ((137, "OOMKilled") if await have_cgroups(node) else (0, "Completed"))


async def test_a_running_containers_limits_can_be_changed(client: Cri) -> None:
    node = client
    sandbox = await node.sandbox()
    container = await node.run(sandbox, "sleep", "100", linux=limited(cpu_shares=100))
    more = cri.LinuxContainerResources(cpu_shares=200, memory_limit_in_bytes=256 * MIB)
    request = cri.UpdateContainerResourcesRequest(container_id=container, linux=more)
    await node.runtime.UpdateContainerResources(request)
    assert (await node.status(container)).resources.linux == more
    if await have_cgroups(node):
        groups = Path(f"/proc/{await node.pid(container)}/cgroup").read_text()
        assert container in groups
        less = cri.LinuxContainerResources(memory_limit_in_bytes=4096)
        with pytest.raises(grpc.aio.AioRpcError, match="below current usage"):
            await node.runtime.UpdateContainerResources(
                cri.UpdateContainerResourcesRequest(container_id=container, linux=less)
            )
    await node.stop(container)
