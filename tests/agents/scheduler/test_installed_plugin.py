"""The example of docs/scheduler.md, installed by pip, in a real scheduler process."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from agents.scheduler import registry
from agents.scheduler.configuration import configuration
from kubraft.api.gvk import EVENT, NODE
from kubraft.api.object import Object
from kubraft.client.client import ApiClient
from tests.agents.scheduler.test_e2e import LEASE_FLAGS, add_node, pod, until_on_node
from tests.agents.scheduler.world import cluster, decide, idle_handle, node
from tests.agents.scheduler.world import pod as plain_pod
from tests.harness.api import ApiUnderTest, ProcessUnderTest, running_api
from tests.harness.installed import install_example

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "docs/examples/scheduler-plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed by pip as a user would install it."""
    make = tmp_path_factory.mktemp
    return install_example(EXAMPLE, make("site"), make("tmp"))


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiUnderTest]:
    with running_api(tmp_path) as running:
        yield running


@pytest.fixture
async def client(api: ApiUnderTest) -> AsyncIterator[ApiClient]:
    opened = api.client("admin")
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    await opened.create({**account, "metadata": {"name": "default", "namespace": "default"}})
    yield opened
    await opened.close()


def test_it_is_found_by_its_entry_point(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))
    points = [
        point
        for distribution in distributions(path=[str(installed)])
        for point in distribution.entry_points
    ]
    assert [(p.group, p.name) for p in points] == [(registry.ENTRY_POINT_GROUP, "TeamNodes")]
    enabled = {"multiPoint": {"enabled": [{"name": "TeamNodes"}]}}
    config = [{"name": "TeamNodes", "args": {"label": "crew"}}]
    written = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "profiles": [{"plugins": enabled, "pluginConfig": config}],
    }
    wanted = configuration(written, tuple(registry.DEFAULT_WEIGHTS.items()))
    (profile,) = registry.profiles(wanted.profiles, idle_handle())
    where = cluster(node("a", labels={"crew": "red"}), node("b", labels={"crew": "blue"}))
    assert decide(where, plain_pod(labels={"crew": "blue"}), profile=profile).node_name == "b"
    message = decide(where, plain_pod(labels={"crew": "green"}), profile=profile).message
    assert "2 node(s) belonged to another team" in message


def team_pod(name: str, team: str, scheduler: str) -> Object:
    made = pod(name)
    made["metadata"]["labels"] = {"team": team}
    made["spec"]["schedulerName"] = scheduler
    return made


@pytest.mark.e2e
async def test_two_profiles_of_one_process(
    api: ApiUnderTest, client: ApiClient, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed), str(ROOT)]))
    command = ["agents.scheduler", *api.agent_flags("scheduler"), *LEASE_FLAGS]
    command += ["--config", str(EXAMPLE / "scheduler.yaml")]
    scheduler = ProcessUnderTest("scheduler-0", command, api.folder)
    scheduler.start()
    try:
        scheduler.wait_ready()
        await add_node(client, "node-0", cpu="4")
        await client.create(team_pod("strict", "blue", "team-scheduler"))
        await client.create(team_pod("plain", "blue", "default-scheduler"))
        await client.create(team_pod("nobodys", "blue", "another"))
        assert await until_on_node(client, "plain") == "node-0"
        message = "0/1 nodes are available: 1 node(s) belonged to another team. "

        async def told() -> list[str]:
            events = (await client.list(EVENT, "default")).items
            failures = [e for e in events if e["reason"] == "FailedScheduling"]
            assert all(e["source"]["component"] == "team-scheduler" for e in failures)
            return [e["message"] for e in failures]

        deadline_s = time.monotonic() + 40
        while not await told():
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.05)
        assert (await told())[0].startswith(message)
        await client.patch(NODE, "node-0", {"metadata": {"labels": {"team": "blue"}}})
        assert await until_on_node(client, "strict") == "node-0"
    finally:
        scheduler.kill()
