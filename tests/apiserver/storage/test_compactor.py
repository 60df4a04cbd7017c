"""Compaction: one API server of several does it, an interval late."""

from __future__ import annotations

from apiserver.storage.compactor import KEY, Compactor
from apiserver.storage.memory_store import MemoryStore
from kubraft.api.time import ManualClock


async def compacted(store: MemoryStore) -> int:
    return store._compacted


async def test_history_of_the_last_interval_stays() -> None:
    store = MemoryStore()
    compactor = Compactor(store, ManualClock())
    await store.create("/registry/a", b"1")
    first = await compactor.step(0)
    assert await compacted(store) == 0
    await store.create("/registry/b", b"1")
    await compactor.step(first)
    assert await compacted(store) == first


async def test_of_two_servers_one_compacts_an_interval() -> None:
    store = MemoryStore()
    one, other = Compactor(store, ManualClock()), Compactor(store, ManualClock())
    first, second = await one.step(0), await other.step(0)
    await store.create("/registry/a", b"1")
    first = await one.step(first)
    assert await compacted(store) == 0  # it is the other's turn, which wrote last
    await other.step(second)
    assert await compacted(store) == second


async def test_the_other_takes_over_where_one_died() -> None:
    store = MemoryStore()
    one, other = Compactor(store, ManualClock()), Compactor(store, ManualClock())
    first, _ = await one.step(0), await other.step(0)
    await store.create("/registry/a", b"1")
    first = await one.step(first)
    await store.create("/registry/b", b"1")
    await one.step(first)
    assert await compacted(store) == first
    found = await store.find(KEY)
    assert found is not None
    assert int(found.value) > first
