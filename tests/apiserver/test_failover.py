"""The API server on three members of our own store, while these are killed and paused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubraft.api.errors import AlreadyExistsError, ApiError, ServiceUnavailableError
from kubraft.api.gvk import CONFIG_MAP
from kubraft.api.object import Object
from kubraft.client.client import ApiClient
from tests.apiserver.harness import simple
from tests.apiserver.process import ApiProcess
from tests.e2e.store_cluster import StoreCluster

pytestmark = pytest.mark.e2e


class Setup:
    def __init__(self, cluster: StoreCluster, server: ApiProcess, client: ApiClient) -> None:
        self.cluster = cluster
        self.server = server
        self.client = client


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    with StoreCluster(tmp_path / "store") as cluster:
        cluster.start()
        cluster.wait_ready()
        with ApiProcess(tmp_path, cluster.client_urls, store_pki=cluster.pki) as server:
            server.wait_ready()
            client = ApiClient(
                server.target, ca_file=server.pki / "ca.crt", token=server.admin_token
            )
            yield Setup(cluster, server, client)
            await client.close()


class Writer:
    """Writes all the time; knows what was acknowledged and the longest time without."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self.acknowledged: list[str] = []
        self.longest_gap_s = 0.0
        self.last_error = ""

    async def run(self) -> None:
        number, last = 0, time.monotonic()
        while True:
            number += 1
            name = f"w{number}"
            for _ in range(400):
                try:
                    await self.client.create(simple("ConfigMap", name))
                except AlreadyExistsError:
                    pass  # an attempt without answer was carried out
                except ApiError as error:
                    self.last_error = error.message
                    await asyncio.sleep(0.02)
                    continue
                break
            now = time.monotonic()
            self.longest_gap_s = max(self.longest_gap_s, now - last)
            last = now
            self.acknowledged.append(name)


async def until(condition: object, timeout_s: float = 30) -> None:
    assert callable(condition)
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - polls what has no event
            await asyncio.sleep(0.02)


async def test_a_killed_leader_stops_writes_for_less_than_3_s_and_loses_nothing(
    setup: Setup,
) -> None:
    writer = Writer(setup.client)
    task = asyncio.create_task(writer.run())
    await until(lambda: len(writer.acknowledged) > 50)
    leader = await asyncio.to_thread(setup.cluster.leader)
    writer.longest_gap_s = 0.0
    setup.cluster.kill(leader)
    count = len(writer.acknowledged)
    await until(lambda: len(writer.acknowledged) > count + 50)
    task.cancel()
    listing = await setup.client.list(CONFIG_MAP, "default")
    found = {o["metadata"]["name"] for o in listing.items}
    assert set(writer.acknowledged) <= found
    assert writer.longest_gap_s < 3, writer.last_error


async def test_a_watch_outlives_the_member_that_feeds_it(setup: Setup) -> None:
    listing = await setup.client.list(CONFIG_MAP)
    watching = setup.client.watch(CONFIG_MAP, resource_version=listing.resource_version)
    names = []
    async with asyncio.timeout(60):
        for number, member in enumerate(setup.cluster.names):
            await asyncio.to_thread(setup.cluster.leader)
            setup.cluster.kill(member)
            await created(setup.client, f"m{number}")
            names.append((await anext(watching)).object["metadata"]["name"])
            setup.cluster.start(member)
            await asyncio.to_thread(setup.cluster.wait_ready)
    assert names == ["m0", "m1", "m2"]


async def created(client: ApiClient, name: str) -> None:
    for _ in range(400):
        try:
            await client.create(simple("ConfigMap", name))
        except AlreadyExistsError:
            return
        except ApiError:
            await asyncio.sleep(0.05)
        else:
            return


async def test_lost_quorum_is_said_within_5_s_and_heals(setup: Setup) -> None:
    await setup.client.create(simple("ConfigMap", "before"))
    await setup.client.get(CONFIG_MAP, "before", "default")
    setup.cluster.kill("store-0", "store-2")
    for attempt in range(2):  # at once, and when the loss is known
        began = time.monotonic()
        with pytest.raises(ServiceUnavailableError) as error:
            await setup.client.create(simple("ConfigMap", f"after-{attempt}"))
        assert time.monotonic() - began < 5
    assert "quorum lost, 1 of 3 members up, missing store-0, store-2" in error.value.message
    listing = await setup.client.list(CONFIG_MAP, resource_version="0")
    assert "before" in {o["metadata"]["name"] for o in listing.items}
    setup.cluster.start("store-0", "store-2")
    await created(setup.client, "healed")
    names = {o["metadata"]["name"] for o in (await setup.client.list(CONFIG_MAP)).items}
    assert {"before", "healed"} <= names


async def test_a_paused_leader_never_serves_a_stale_read(setup: Setup) -> None:
    obj = await setup.client.create(simple("ConfigMap", "counter"))
    leader = await asyncio.to_thread(setup.cluster.leader)
    setup.cluster.pause(leader)
    try:
        for number in range(20):
            obj = await updated(setup.client, number)
            assert await read(setup.client) == obj
    finally:
        setup.cluster.resume(leader)
    for number in range(20, 40):
        obj = await updated(setup.client, number)
        assert await read(setup.client) == obj


async def updated(client: ApiClient, number: int) -> Object:
    """Set the counter; the answer, or what is stored where the answer got lost."""
    for _ in range(200):
        try:
            return await client.patch(
                CONFIG_MAP, "counter", {"data": {"n": str(number)}}, "default"
            )
        except ApiError:
            await asyncio.sleep(0.05)
    raise AssertionError("no answer")


async def read(client: ApiClient) -> Object:
    for _ in range(200):
        try:
            return await client.get(CONFIG_MAP, "counter", "default")
        except ApiError:
            await asyncio.sleep(0.05)
    raise AssertionError("no answer")
