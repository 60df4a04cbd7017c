"""Ranges for Nodes, beside a real API server; the controller is killed at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest

from agents.controllers.context import Context
from agents.controllers.discovery import Discovery
from agents.controllers.informers import Informers
from agents.controllers.node_ipam.controller import NodeIpamController
from agents.controllers.node_ipam.pools import Pool
from agents.controllers.options import Options
from kubraft.api.gvk import EVENT, NODE
from kubraft.api.networks import cluster_networks
from kubraft.api.time import SystemClock
from kubraft.client.client import ApiClient
from tests.e2e.cluster import until_async
from tests.harness.api import ApiUnderTest, running_api

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("node-ipam")]

WITHIN_S = 40.0


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    with running_api(tmp_path_factory.mktemp("ipam")) as api:
        yield api


class World:
    """The controller as one term of the manager has it."""

    def __init__(self, api: ApiUnderTest) -> None:
        self._api = api
        self.admin = api.client("admin")
        self._task: asyncio.Task[None] | None = None

    def start(self, cluster_cidr: str, services: str = "") -> None:
        pools = tuple(Pool(network, 24) for network in cluster_networks(cluster_cidr))
        options = Options(node_pools=pools, service_networks=cluster_networks(services))
        self._task = asyncio.ensure_future(self._run(options))

    async def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, options: Options) -> None:
        client: ApiClient = self._api.client("controller-manager")
        clock = SystemClock()
        informers = Informers(client, clock)
        discovery = Discovery(client, informers, clock)
        context = Context(client, informers, discovery, options, clock, Random(1))
        controller = NodeIpamController(context)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(informers.run())
                await informers.wait_synced()
                for recorder in context.recorders:
                    group.create_task(recorder.run())
                group.create_task(controller.run())
        finally:
            await client.close()

    async def node(self, name: str, cidr: str = "") -> None:
        spec = {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}
        made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        await self.admin.create({**made, "spec": spec})

    async def ranges(self) -> dict[str, str]:
        """By name; only of those that have one."""
        return {
            node["metadata"]["name"]: node["spec"]["podCIDR"]
            for node in (await self.admin.list(NODE)).items
            if (node.get("spec") or {}).get("podCIDR")
        }

    async def until_given(self, count: int) -> dict[str, str]:
        async def look() -> bool:
            return len(await self.ranges()) == count

        await until_async(look, f"{count} Nodes with a range", timeout_s=WITHIN_S)
        return await self.ranges()

    async def said_none_free(self, name: str) -> bool:
        return any(
            (each["reason"], each["message"], each["source"]["component"])
            == (
                "CIDRNotAvailable",
                f"Node {name} status is now: CIDRNotAvailable",
                "cidrAllocator",
            )
            for each in (await self.admin.list(EVENT)).items
            if each["involvedObject"]["name"] == name
        )


@pytest.fixture
async def world(api: ApiUnderTest) -> AsyncIterator[World]:
    made = World(api)
    yield made
    await made.kill()
    for each in (await made.admin.list(NODE)).items:
        await made.admin.delete(NODE, each["metadata"]["name"])
    await made.admin.close()


async def test_each_node_has_a_range_of_its_own_whenever_it_is_killed(world: World) -> None:
    rng = Random(3)
    await world.node("told", "10.244.2.0/24")  # by its agent

    async def join() -> None:
        for number in range(40):
            await world.node(f"n{number}")
            await asyncio.sleep(rng.random() * 0.02)

    joining = asyncio.ensure_future(join())
    while not joining.done():
        world.start("10.244.0.0/16", "10.244.0.0/24")
        await asyncio.sleep(rng.random() * 0.3)
        await world.kill()
        # The next term begins with a write, of the Lease: what was sent before it is stored.
        await world.admin.patch(NODE, "told", {"metadata": {"labels": {"term": str(rng.random())}}})
    await joining
    world.start("10.244.0.0/16", "10.244.0.0/24")
    ranges = await world.until_given(41)
    assert len(set(ranges.values())) == 41
    assert ranges["told"] == "10.244.2.0/24"
    assert "10.244.0.0/24" not in ranges.values()  # of Services
    assert (await world.admin.get(NODE, "n7"))["spec"]["podCIDRs"] == [ranges["n7"]]


async def test_a_node_that_finds_none_free_says_so_and_is_given_the_next(world: World) -> None:
    world.start("10.250.0.0/23")
    for name in ("a", "b"):
        await world.node(name)
    ranges = await world.until_given(2)
    assert set(ranges.values()) == {"10.250.0.0/24", "10.250.1.0/24"}
    await world.node("late")

    async def said() -> bool:
        return await world.said_none_free("late")

    await until_async(said, "the Event", timeout_s=WITHIN_S)
    await world.admin.delete(NODE, "a")

    async def given() -> bool:
        return (await world.ranges()).get("late") == ranges["a"]

    await until_async(given, "its range", timeout_s=WITHIN_S)


async def test_both_families(world: World) -> None:
    pools = "10.251.0.0/16,fd00::/23"  # /24 of either, as the test has it
    world.start(pools)
    await world.node("dual")
    await world.until_given(1)
    assert (await world.admin.get(NODE, "dual"))["spec"]["podCIDRs"] == [
        "10.251.0.0/24",
        "fd00::/24",
    ]
