"""Pods on a containerd: what only a runtime that outlives its own death, and has cgroups, shows."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubraft.api.conditions import find_condition
from kubraft.api.gvk import NODE, POD
from tests.agents.node.node_process import Node, running_node, state
from tests.agents.node.test_node_agent import http_get, phase_is
from tests.agents.runtime.containerd_process import ContainerdProcess
from tests.harness.api import ApiUnderTest

pytestmark = pytest.mark.e2e


@pytest.fixture
async def node(
    containerd: ContainerdProcess, api: ApiUnderTest, tmp_path: Path
) -> AsyncIterator[Node]:
    async with running_node(api, tmp_path / "node", runtime=containerd) as node:
        yield node
        for pod in (await node.client.list(POD, "default")).items:
            name = pod["metadata"]["name"]
            await node.client.delete(POD, name, "default", grace_period_s=0)


async def test_pods_outlive_containerd_itself(node: Node, containerd: ContainerdProcess) -> None:
    probe = {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}
    await node.run(node.pod("stays", image="kubraft/web", container={"readinessProbe": probe}))
    before = await node.until_ready("stays")
    url = f"http://{before['status']['podIP']}:8080/"
    os.kill(containerd.daemon(), signal.SIGKILL)
    assert "pod: stays" in await asyncio.to_thread(http_get, url)
    await node.run(node.pod("after", image="kubraft/web"))
    await node.until_ready("after")
    pod = await node.get("stays")
    assert state(pod)["containerID"] == state(before)["containerID"]
    assert state(pod)["restartCount"] == 0
    assert "pod: stays" in await asyncio.to_thread(http_get, url)

    async def ready() -> bool:
        found = await node.client.get(NODE, "node-0")
        condition = find_condition(found["status"]["conditions"], "Ready")
        return condition is not None and condition["status"] == "True"

    async with asyncio.timeout(60):
        while not await ready():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_memory_beyond_the_limit_is_oom_killed(node: Node) -> None:
    program = "x = bytearray(200_000_000); x[::4096] = b'x' * len(x[::4096])"
    container = {"resources": {"limits": {"memory": "64Mi"}}}
    command = ("python3", "-c", program)
    pod = node.pod("hungry", *command, image="python", container=container, restartPolicy="Never")
    await node.run(pod)
    ended = await node.until("hungry", phase_is("Failed"), 60)
    told = state(ended)["state"]["terminated"]
    assert (told["exitCode"], told["reason"]) == (137, "OOMKilled")
