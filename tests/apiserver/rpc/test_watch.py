"""Watches over gRPC: initial events, resumption, selectors, bookmarks, slow readers."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from apiserver.storage import resource_cache
from kubraft.api.errors import ExpiredError
from kubraft.api.gvk import CONFIG_MAP
from kubraft.pb.v1 import objects_pb2 as pb
from tests.apiserver.harness import simple
from tests.apiserver.rpc.conftest import Api

Type = pb.WatchEvent


def watch(**fields: Any) -> pb.WatchRequest:
    return pb.WatchRequest(**{"kind": "ConfigMap", "encoding": pb.ENCODING_JSON, **fields})


async def read(stream: Any, count: int) -> list[pb.WatchEvent]:
    async with asyncio.timeout(10):
        return [await stream.read() for _ in range(count)]


def name(event: pb.WatchEvent) -> str:
    found: str = orjson.loads(event.json)["metadata"]["name"]
    return found


async def test_initial_events_end_with_a_bookmark(api: Api) -> None:
    for index in range(3):
        await api.bench.create(simple("ConfigMap", f"m{index}"))
    stream = api.stub.Watch(watch(send_initial_events=True, allow_bookmarks=True))
    events = await read(stream, 4)
    assert [e.type for e in events] == [Type.ADDED] * 3 + [Type.BOOKMARK]
    assert events[3].initial_events_end
    assert int(events[3].resource_version) >= int(events[2].resource_version)
    await api.bench.create(simple("ConfigMap", "late"))
    assert name((await read(stream, 1))[0]) == "late"
    stream.cancel()


async def test_a_watch_resumes_after_a_version(api: Api) -> None:
    first = await api.bench.create(simple("ConfigMap", "a"))
    await api.bench.create(simple("ConfigMap", "b"))
    version = first["metadata"]["resourceVersion"]
    stream = api.stub.Watch(watch(resource_version=version))
    assert name((await read(stream, 1))[0]) == "b"
    stream.cancel()


async def test_all_watchers_get_the_same_events(api: Api) -> None:
    streams = [api.stub.Watch(watch(send_initial_events=True)) for _ in range(20)]
    for stream in streams:
        assert (await read(stream, 1))[0].initial_events_end
    await api.bench.create(simple("ConfigMap", "a"))
    got = [(await read(stream, 1))[0] for stream in streams]
    assert len({event.SerializeToString() for event in got}) == 1
    for stream in streams:
        stream.cancel()


async def test_a_struct_watch_is_for_people(api: Api) -> None:
    await api.bench.create(simple("ConfigMap", "a"))
    stream = api.stub.Watch(watch(encoding=pb.ENCODING_STRUCT))
    event = (await read(stream, 1))[0]
    assert event.object.fields["kind"].string_value == "ConfigMap"
    stream.cancel()


async def test_an_expired_version_is_said_in_an_error_event(api: Api) -> None:
    first = await api.bench.create(simple("ConfigMap", "a"))
    for index in range(5):
        first = await api.bench.update({**first, "data": {"n": str(index)}})
    await api.bench.store.compact(int(first["metadata"]["resourceVersion"]))
    api.bench.cache.resources["/registry/configmaps/"].window_start = 10**6
    stream = api.stub.Watch(watch(resource_version="2"))
    event = (await read(stream, 1))[0]
    assert event.type == Type.ERROR
    status = orjson.loads(event.json)
    assert (status["code"], status["reason"]) == (410, "Expired")


async def test_a_watch_ends_after_its_timeout(api: Api) -> None:
    stream = api.stub.Watch(watch(timeout_seconds=1))
    async with asyncio.timeout(10):
        assert [event async for event in stream] == []


async def test_a_slow_reader_is_cut_off_and_others_are_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource_cache, "WATCHER_EVENTS_MAX", 5)
    cache = api.bench.cache.resources["/registry/configmaps/"]
    slow = cache.watch(cache.prefix, after=api.bench.cache.revision)
    stream = api.stub.Watch(watch(send_initial_events=True))
    await read(stream, 1)
    for index in range(8):
        await api.bench.create(simple("ConfigMap", f"m{index}"))
        await read(stream, 1)
    with pytest.raises(ExpiredError, match="the watch was cut off"):
        await slow.next(1)
    stream.cancel()


async def test_a_client_that_leaves_is_forgotten(api: Api) -> None:
    stream = api.stub.Watch(watch(send_initial_events=True))
    await read(stream, 1)
    cache = api.bench.cache.resources["/registry/configmaps/"]
    assert cache.watcher_count == 1
    stream.cancel()
    async with asyncio.timeout(10):
        while cache.watcher_count:  # noqa: ASYNC110 - polls what has no event
            await asyncio.sleep(0.01)


async def test_the_informer_of_the_client_follows(api: Api) -> None:
    seen = []
    async with asyncio.timeout(10):
        listing = await api.client.list(CONFIG_MAP)
        watching = api.client.watch(CONFIG_MAP, resource_version=listing.resource_version)
        await api.bench.create(simple("ConfigMap", "a"))
        async for event in watching:
            seen.append((event.type, event.object["metadata"]["name"]))
            break
    assert seen == [("ADDED", "a")]
