"""What every implementation of apiserver.storage.reads.Reads promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from apiserver.storage import codec
from apiserver.storage.entry import Entry, EventType, WatchEvent
from apiserver.storage.reads import ListOptions, WatchOptions
from kubraft.api.errors import BadRequestError, ExpiredError, TimeoutError_
from tests.conformance.storage.conftest import Bench


def thing(name: str, color: str = "red") -> bytes:
    metadata = {"name": name, "namespace": "ns", "labels": {"color": color}}
    return codec.encode({"apiVersion": "v1", "kind": "Thing", "metadata": metadata})


def red(entry: Entry) -> bool:
    return bool(entry.decode()["metadata"]["labels"]["color"] == "red")


def names(entries: list[Entry]) -> list[str]:
    return [entry.decode()["metadata"]["name"] for entry in entries]


async def collect(stream: AsyncIterator[WatchEvent], count: int) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    async with asyncio.timeout(10):
        async for event in stream:
            if event.entry is None:
                continue
            obj = event.entry.decode()
            assert obj["metadata"]["resourceVersion"] == str(event.revision)
            labels = obj["metadata"]["labels"]
            found.append((event.type.value, obj["metadata"]["name"], labels["color"]))
            if len(found) == count:
                return found
    raise AssertionError


async def test_get_sees_every_write_before_it(bench: Bench) -> None:
    revision = await bench.store.create(bench.key("a"), thing("a"))
    entry = await bench.reads.get(bench.prefix, bench.key("a"))
    assert entry is not None
    assert entry.decode()["metadata"]["resourceVersion"] == str(revision)
    await bench.store.remove(bench.key("a"), mod_revision=revision)
    assert await bench.reads.get(bench.prefix, bench.key("a")) is None


async def test_list_is_ordered_and_as_of_one_revision(bench: Bench) -> None:
    for name in "bca":
        revision = await bench.store.create(bench.key(name), thing(name))
    listing = await bench.reads.list(bench.prefix, bench.prefix, ListOptions())
    assert names(listing.entries) == ["a", "b", "c"]
    assert listing.revision >= revision
    assert listing.continue_token == ""


async def test_list_of_a_namespace_leaves_out_others(bench: Bench) -> None:
    await bench.store.create(bench.key("a"), thing("a"))
    await bench.store.create(f"{bench.prefix}ns2/b", thing("b"))
    listing = await bench.reads.list(bench.prefix, f"{bench.prefix}ns/", ListOptions())
    assert names(listing.entries) == ["a"]


async def test_pages_are_consistent_while_objects_change(bench: Bench) -> None:
    for name in "abcde":
        await bench.store.create(bench.key(name), thing(name))
    first = await bench.reads.list(bench.prefix, bench.prefix, ListOptions(limit=2))
    assert (names(first.entries), first.remaining) == (["a", "b"], 3)
    await bench.store.create(bench.key("c0"), thing("c0"))
    second = await bench.reads.list(
        bench.prefix, bench.prefix, ListOptions(limit=2, continue_token=first.continue_token)
    )
    assert (names(second.entries), second.revision) == (["c", "d"], first.revision)
    third = await bench.reads.list(
        bench.prefix, bench.prefix, ListOptions(limit=2, continue_token=second.continue_token)
    )
    assert (names(third.entries), third.continue_token) == (["e"], "")


async def test_limit_counts_what_is_selected(bench: Bench) -> None:
    for name, color in zip("abcdef", ["red", "blue", "blue", "red", "red", "blue"], strict=True):
        await bench.store.create(bench.key(name), thing(name, color))
    options = ListOptions(limit=2, predicate=red)
    first = await bench.reads.list(bench.prefix, bench.prefix, options)
    assert (names(first.entries), first.remaining) == (["a", "d"], None)
    options = ListOptions(limit=2, predicate=red, continue_token=first.continue_token)
    second = await bench.reads.list(bench.prefix, bench.prefix, options)
    assert (names(second.entries), second.continue_token) == (["e"], "")


@pytest.mark.parametrize("token", ["garbage!", "e30", "eyJydiI6MSwic3RhcnQiOiIvIn0"])
async def test_foreign_continue_token_is_a_bad_request(bench: Bench, token: str) -> None:
    with pytest.raises(BadRequestError):
        await bench.reads.list(bench.prefix, bench.prefix, ListOptions(continue_token=token))


async def test_exact_list_shows_the_past(bench: Bench) -> None:
    revision = await bench.store.create(bench.key("a"), thing("a"))
    await bench.store.create(bench.key("b"), thing("b"))
    options = ListOptions(resource_version=revision, exact=True)
    listing = await bench.reads.list(bench.prefix, bench.prefix, options)
    assert (names(listing.entries), listing.revision) == (["a"], revision)


async def test_list_of_a_compacted_revision_is_expired(bench: Bench) -> None:
    revision = await bench.store.create(bench.key("a"), thing("a"))
    later = await bench.store.create(bench.key("b"), thing("b"))
    # A cache that is still at the older revision may show it, whatever the store has forgotten.
    await bench.reads.get(bench.prefix, bench.key("b"), resource_version=later)
    await bench.store.compact(later)
    with pytest.raises(ExpiredError):
        await bench.reads.list(
            bench.prefix, bench.prefix, ListOptions(resource_version=revision, exact=True)
        )


async def test_list_of_a_future_revision_times_out(bench: Bench) -> None:
    revision = await bench.store.revision() + 1000
    with pytest.raises(TimeoutError_, match="Too large resource version"):
        await bench.reads.list(
            bench.prefix, bench.prefix, ListOptions(resource_version=revision, exact=True)
        )


async def test_watch_begins_with_what_exists_and_goes_on(bench: Bench) -> None:
    revision = await bench.store.create(bench.key("a"), thing("a"))
    await bench.reads.get(bench.prefix, bench.key("a"))
    stream = bench.reads.watch(bench.prefix, bench.prefix, WatchOptions(initial_end=True))
    async with asyncio.timeout(10):
        first, mark = await anext(stream), await anext(stream)
    assert (first.type, mark.type, mark.initial_end) == (
        EventType.ADDED,
        EventType.BOOKMARK,
        True,
    )
    revision = await bench.store.replace(bench.key("a"), thing("a", "blue"), mod_revision=revision)
    await bench.store.remove(bench.key("a"), mod_revision=revision)
    assert await collect(stream, 2) == [("MODIFIED", "a", "blue"), ("DELETED", "a", "blue")]


async def test_watch_resumes_without_gap_or_repeat(bench: Bench) -> None:
    revisions = [await bench.store.create(bench.key(f"a{i}"), thing(f"a{i}")) for i in range(5)]
    stream = bench.reads.watch(bench.prefix, bench.prefix, WatchOptions(after=revisions[1]))
    found = await collect(stream, 3)
    assert [name for _, name, _ in found] == ["a2", "a3", "a4"]


async def test_selecting_watch_turns_changes_of_labels_into_added_and_deleted(
    bench: Bench,
) -> None:
    start = await bench.store.revision()
    a = await bench.store.create(bench.key("a"), thing("a", "blue"))
    b = await bench.store.create(bench.key("b"), thing("b", "blue"))
    a = await bench.store.replace(bench.key("a"), thing("a", "red"), mod_revision=a)
    a = await bench.store.replace(bench.key("a"), thing("a", "blue"), mod_revision=a)
    await bench.store.remove(bench.key("a"), mod_revision=a)
    await bench.store.replace(bench.key("b"), thing("b", "red"), mod_revision=b)
    options = WatchOptions(after=start, predicate=red)
    found = await collect(bench.reads.watch(bench.prefix, bench.prefix, options), 3)
    assert found == [("ADDED", "a", "red"), ("DELETED", "a", "red"), ("ADDED", "b", "red")]


async def test_watch_from_a_compacted_revision_is_expired(bench: Bench) -> None:
    first = await bench.store.create(bench.key("a"), thing("a"))
    second = await bench.store.replace(bench.key("a"), thing("a"), mod_revision=first)
    third = await bench.store.replace(bench.key("a"), thing("a"), mod_revision=second)
    await bench.store.compact(third)
    # Older than the window of the cache, which begins with the store's first revision at best.
    stream = bench.reads.watch(bench.prefix, bench.prefix, WatchOptions(after=0))
    with pytest.raises(ExpiredError):
        await collect(stream, 1)
