"""Waiting for a revision: what a client asks for must not hurt the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from apiserver.storage import codec, watch_cache
from apiserver.storage.memory_store import MemoryStore
from apiserver.storage.store import WatchBatch
from apiserver.storage.watch_cache import CacheBehindError, WatchCache
from kubraft.api.errors import InternalError, ServiceUnavailableError
from tests.harness.eventually import eventually


class SuspectedStore(MemoryStore):
    """Counts how often its watch was given up."""

    suspected = 0

    def suspect(self) -> None:
        self.suspected += 1


@contextlib.asynccontextmanager
async def _running(store: MemoryStore) -> AsyncIterator[WatchCache]:
    cache = WatchCache(store, ["/registry/things/"])
    running = asyncio.create_task(cache.run())
    try:
        await cache.wait_synced()
        yield cache
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_a_revision_from_the_future_leaves_watch_and_waiters_alone() -> None:
    store = SuspectedStore()
    async with _running(store) as cache:
        with pytest.raises(CacheBehindError):
            await cache.reach(1 << 40, timeout_s=0.05)
        assert store.suspected == 0
        assert cache.waiting == 0


async def test_a_reader_that_leaves_is_forgotten() -> None:
    async with _running(MemoryStore()) as cache:
        reading = asyncio.create_task(cache.reach(1 << 40, timeout_s=60))
        await eventually(lambda: cache.waiting == 1)
        reading.cancel()
        await asyncio.wait([reading])
        assert cache.waiting == 0


async def test_a_watch_that_lacks_what_the_store_has_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_cache, "FRESH_TIMEOUT_S", 0.05)
    store = SuspectedStore()
    async with _running(store) as cache:

        async def ahead() -> int:
            return 1 << 40

        monkeypatch.setattr(store, "revision", ahead)
        with pytest.raises(CacheBehindError):
            await cache.fresh()
        assert store.suspected == 1


class BrokenWatchStore(MemoryStore):
    """Refuses the first watch for a reason that nobody has thought of."""

    refusals = 1

    def watch(
        self, prefix: str, *, after: int, previous: bool = False
    ) -> AsyncIterator[WatchBatch]:
        if self.refusals:
            self.refusals -= 1
            raise InternalError("the store refused the request: no such method")
        return super().watch(prefix, after=after, previous=previous)


async def test_a_feed_that_was_refused_tries_again() -> None:
    store = BrokenWatchStore()
    async with _running(store) as cache:
        key = "/registry/things/one"
        revision = await store.create(key, b'{"apiVersion":"v1","kind":"Thing","metadata":{}}')
        await eventually(lambda: cache.revision >= revision)
        assert list(cache.resources["/registry/things/"].entries) == [key]


async def test_a_key_that_is_no_text_is_left_out() -> None:
    store = MemoryStore()
    async with _running(store) as cache:
        value = b'{"apiVersion":"v1","kind":"Thing","metadata":{}}'
        await store.create("/registry/things/\udcff", value)
        revision = await store.create("/registry/things/text", value)
        await eventually(lambda: cache.revision >= revision)
        assert list(cache.resources["/registry/things/"].entries) == ["/registry/things/text"]


async def test_who_joined_during_a_round_that_fails_is_told_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, failing, asked = MemoryStore(), asyncio.Event(), 0
    async with _running(store) as cache:

        async def lost() -> int:
            nonlocal asked
            asked += 1
            await failing.wait()
            raise ServiceUnavailableError("no quorum")

        monkeypatch.setattr(store, "revision", lost)
        first = asyncio.create_task(cache.fresh())
        await eventually(lambda: asked == 1)
        second = asyncio.create_task(cache.fresh())
        await asyncio.sleep(0)
        failing.set()
        done = await asyncio.gather(first, second, return_exceptions=True)
        assert [str(error) for error in done] == ["no quorum", "no quorum"]
        assert asked == 1


async def test_an_outage_is_told_once_and_so_is_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    log = SimpleNamespace(
        warning=lambda event, **_: told.append(event), info=lambda event, **_: told.append(event)
    )
    monkeypatch.setattr(watch_cache, "_log", log)
    monkeypatch.setattr(watch_cache, "RETRY_S", 0.001)
    thing = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a"}}
    store = MemoryStore()
    async with _running(store) as cache:
        await store.lose("gone")
        await eventually(lambda: told)
        await asyncio.sleep(0.02)
        store.unavailable = ""
        await store.create("/registry/things/a", codec.encode(thing))
        await eventually(lambda: len(told) > 1)
        assert cache.synced
    assert told == ["watch_cache_lost_store", "watch_cache_follows_store"]


async def test_a_reader_that_goes_as_its_revision_comes_goes_quietly() -> None:
    cache = WatchCache(MemoryStore(), ["/registry/things/"])
    reader = asyncio.create_task(cache.reach(7, timeout_s=60))
    await asyncio.sleep(0)
    reader.cancel()
    cache._advance(7)
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert cache.waiting == 0
