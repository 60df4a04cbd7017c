"""What every implementation of apiserver.storage.store.Store promises."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from apiserver.storage.errors import (
    ClaimTakenError,
    CompactedError,
    FutureRevisionError,
    KeyExistsError,
    RevisionMismatchError,
)
from apiserver.storage.store import KeyEvent, Store


@pytest.fixture
def prefix() -> str:
    return f"/registry/{uuid.uuid4().hex}/"


async def take(store: Store, prefix: str, after: int, count: int) -> list[KeyEvent]:
    events: list[KeyEvent] = []
    async with asyncio.timeout(10):
        async for batch in store.watch(prefix, after=after, previous=True):
            events += batch.events
            if len(events) >= count:
                return events
    raise AssertionError


async def test_create_then_find_gives_value_and_revision(store: Store, prefix: str) -> None:
    revision = await store.create(prefix + "a", b"1")
    found = await store.find(prefix + "a")
    assert found is not None
    assert (found.value, found.mod_revision) == (b"1", revision)
    assert await store.find(prefix + "b") is None


async def test_second_create_is_refused(store: Store, prefix: str) -> None:
    await store.create(prefix + "a", b"1")
    with pytest.raises(KeyExistsError):
        await store.create(prefix + "a", b"2")
    found = await store.find(prefix + "a")
    assert found is not None
    assert found.value == b"1"


async def test_of_concurrent_creates_one_wins(store: Store, prefix: str) -> None:
    results = await asyncio.gather(
        *(store.create(prefix + "a", b"%d" % i) for i in range(10)), return_exceptions=True
    )
    assert sum(isinstance(r, int) for r in results) == 1
    assert sum(isinstance(r, KeyExistsError) for r in results) == 9


async def test_replace_needs_the_current_revision(store: Store, prefix: str) -> None:
    first = await store.create(prefix + "a", b"1")
    second = await store.replace(prefix + "a", b"2", mod_revision=first)
    assert second > first
    with pytest.raises(RevisionMismatchError) as error:
        await store.replace(prefix + "a", b"3", mod_revision=first)
    assert error.value.current is not None
    assert error.value.current.value == b"2"


async def test_replace_and_remove_of_an_absent_key_are_refused(store: Store, prefix: str) -> None:
    with pytest.raises(RevisionMismatchError) as error:
        await store.replace(prefix + "a", b"3", mod_revision=1)
    assert error.value.current is None
    with pytest.raises(RevisionMismatchError):
        await store.remove(prefix + "a", mod_revision=1)


async def test_remove_needs_the_current_revision(store: Store, prefix: str) -> None:
    first = await store.create(prefix + "a", b"1")
    second = await store.replace(prefix + "a", b"2", mod_revision=first)
    with pytest.raises(RevisionMismatchError):
        await store.remove(prefix + "a", mod_revision=first)
    assert await store.remove(prefix + "a", mod_revision=second) > second
    assert await store.find(prefix + "a") is None


async def test_a_claim_belongs_to_one_until_released(store: Store, prefix: str) -> None:
    claim = {prefix + "claim": b"a"}
    revision = await store.create(prefix + "a", b"1", claims=claim)
    with pytest.raises(ClaimTakenError) as error:
        await store.create(prefix + "b", b"1", claims=claim)
    assert error.value.key == prefix + "claim"
    assert await store.find(prefix + "b") is None
    await store.remove(prefix + "a", mod_revision=revision, releases=list(claim))
    await store.create(prefix + "b", b"1", claims=claim)


async def test_replace_swaps_claims_at_once(store: Store, prefix: str) -> None:
    revision = await store.create(prefix + "a", b"1", claims={prefix + "c1": b""})
    await store.replace(
        prefix + "a",
        b"2",
        mod_revision=revision,
        claims={prefix + "c2": b""},
        releases=[prefix + "c1"],
    )
    assert await store.find(prefix + "c1") is None
    assert await store.find(prefix + "c2") is not None


async def test_range_pages_show_one_revision(store: Store, prefix: str) -> None:
    for name in "abcde":
        await store.create(prefix + name, name.encode())
    page = await store.range(prefix, limit=2)
    assert [kv.value for kv in page.items] == [b"a", b"b"]
    assert (page.more, page.left) == (True, 5)
    await store.create(prefix + "c0", b"late")
    rest = await store.range(prefix, start=prefix + "b\0", limit=9, revision=page.revision)
    assert [kv.value for kv in rest.items] == [b"c", b"d", b"e"]
    assert (rest.more, rest.revision) == (False, page.revision)


async def test_range_of_the_future_is_refused(store: Store, prefix: str) -> None:
    with pytest.raises(FutureRevisionError):
        await store.range(prefix, revision=await store.revision() + 1000)


async def test_watch_delivers_changes_in_order_with_what_was_before(
    store: Store, prefix: str
) -> None:
    start = await store.revision()
    r1 = await store.create(prefix + "a", b"1")
    watching = asyncio.create_task(take(store, prefix, start, 3))
    r2 = await store.replace(prefix + "a", b"2", mod_revision=r1)
    await store.create(prefix.rstrip("/") + "0", b"not below the prefix")
    r3 = await store.remove(prefix + "a", mod_revision=r2)
    events = await watching
    assert [(e.revision, e.created, e.deleted, e.value) for e in events] == [
        (r1, True, False, b"1"),
        (r2, False, False, b"2"),
        (r3, False, True, b""),
    ]
    assert [e.previous and e.previous.value for e in events] == [None, b"1", b"2"]


async def test_compaction_ends_old_reads_and_watches(store: Store, prefix: str) -> None:
    first = await store.create(prefix + "a", b"1")
    second = await store.replace(prefix + "a", b"2", mod_revision=first)
    third = await store.replace(prefix + "a", b"3", mod_revision=second)
    await store.compact(third)
    await store.compact(second)  # is done already
    with pytest.raises(CompactedError):
        await store.range(prefix, revision=first)
    with pytest.raises(CompactedError):
        await take(store, prefix, first - 1, 1)
    assert [e.revision for e in await take(store, prefix, third - 1, 1)] == [third]


async def test_revision_covers_every_acknowledged_write(store: Store, prefix: str) -> None:
    written = await store.create(prefix + "a", b"1")
    assert await store.revision() >= written


async def test_many_who_ask_for_progress_do_not_break_the_watch(store: Store, prefix: str) -> None:
    after = await store.revision()
    taking = asyncio.create_task(take(store, prefix, after, 20))
    for number in range(20):
        asking = [asyncio.create_task(store.progress()) for _ in range(20)]
        await store.create(f"{prefix}{number}", b"1")
        # Who asks may be gone before it is sent.
        for task in asking[::2]:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    assert len(await taking) == 20
