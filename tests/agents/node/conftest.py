"""One API server for all tests of this folder; a node of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kubraft.api.gvk import POD
from tests.agents.node.node_process import Node, running_node
from tests.agents.runtime.containerd_process import ContainerdProcess
from tests.harness.api import ApiUnderTest, running_api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    with running_api(tmp_path_factory.mktemp("api")) as api:
        yield api


@pytest.fixture
async def node(api: ApiUnderTest, tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(api, tmp_path / "node") as node:
        yield node
        for pod in (await node.client.list(POD, "default")).items:
            name = pod["metadata"]["name"]
            await node.client.delete(POD, name, "default", grace_period_s=0)


@pytest.fixture(params=["process", "containerd"])
def given_runtime(request: pytest.FixtureRequest) -> ContainerdProcess | None:
    """None: the embedded one, of the test's own."""
    if request.param == "process":
        return None
    runtime: ContainerdProcess = request.getfixturevalue("containerd")
    return runtime


@pytest.fixture
async def any_node(
    given_runtime: ContainerdProcess | None, api: ApiUnderTest, tmp_path: Path
) -> AsyncIterator[Node]:
    """A node on each of the two runtimes: what CRI promises is all that the agent may rely on."""
    async with running_node(api, tmp_path / "node", runtime=given_runtime) as node:
        yield node
        for pod in (await node.client.list(POD, "default")).items:
            name = pod["metadata"]["name"]
            await node.client.delete(POD, name, "default", grace_period_s=0)
