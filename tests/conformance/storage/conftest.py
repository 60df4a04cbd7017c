"""The implementations that the storage suites are run on."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from apiserver.storage.cached_reads import CachedReads
from apiserver.storage.endpoints import Endpoints
from apiserver.storage.etcd_store import EtcdStore
from apiserver.storage.memory_store import MemoryStore
from apiserver.storage.reads import DirectReads, Reads
from apiserver.storage.store import Store
from apiserver.storage.watch_cache import WatchCache
from tests.conformance.storage.etcd import find_etcd, running_etcd
from tests.e2e.store_cluster import StoreCluster


@pytest.fixture(scope="session")
def etcd_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_etcd() is None:
        pytest.skip("there is no etcd executable")
    with running_etcd(tmp_path_factory.mktemp("etcd")) as url:
        yield url


@pytest.fixture(scope="session")
def kubraft_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A member of our own store, alone in its cluster."""
    with StoreCluster(tmp_path_factory.mktemp("store"), members=1, tls=False) as cluster:
        cluster.start()
        cluster.wait_ready()
        yield cluster.client_urls


@pytest.fixture(params=["memory", "etcd", "kubraft"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    made: Store
    if request.param == "memory":
        made = MemoryStore()
    else:
        made = EtcdStore(Endpoints([request.getfixturevalue(f"{request.param}_url")]))
    yield made
    await made.close()


@dataclass(frozen=True)
class Bench:
    """A store with reads on top; `prefix` is of this test alone."""

    store: Store
    reads: Reads
    prefix: str

    def key(self, name: str) -> str:
        return f"{self.prefix}ns/{name}"


@pytest.fixture(params=["direct", "cached"])
async def bench(request: pytest.FixtureRequest, store: Store) -> AsyncIterator[Bench]:
    prefix = f"/registry/things-{uuid.uuid4().hex}/"
    if request.param == "direct":
        yield Bench(store, DirectReads(store), prefix)
        return
    cache = WatchCache(store, [prefix])
    feed = asyncio.create_task(cache.run())
    async with asyncio.timeout(10):
        await cache.wait_synced()
    yield Bench(store, CachedReads(store, cache), prefix)
    feed.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await feed
