import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kubraft.api.errors import ForbiddenError, NotFoundError, ServiceUnavailableError
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object
from kubraft.api.patch import merge_patch
from kubraft.api.time import ManualClock
from kubraft.client.event_correlation import BURST, COMBINED_PREFIX
from kubraft.client.events import PENDING_MAX, EventRecorder


class EventStore:
    def __init__(self) -> None:
        self.events: dict[str, Object] = {}
        self.failures: list[Exception] = []

    async def create(self, obj: Object) -> Object:
        if self.failures:
            raise self.failures.pop(0)
        assert obj["metadata"]["name"] not in self.events
        self.events[obj["metadata"]["name"]] = obj
        return obj

    async def patch(
        self, gvk: GroupVersionKind, name: str, merge: dict[str, Any], namespace: str = ""
    ) -> Object:
        if name not in self.events:
            raise NotFoundError("not found")
        self.events[name] = merge_patch(self.events[name], merge)
        return self.events[name]

    def counts(self) -> list[tuple[str, int]]:
        return [(event["message"], event["count"]) for event in self.events.values()]


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = EventStore()
        self.recorder = EventRecorder(self.store, "scheduler", host="h", clock=self.clock)

    def report(self, message: str, pod: str = "web-0", reason: str = "Failed") -> None:
        metadata = {"namespace": "default", "name": pod, "uid": f"uid-{pod}"}
        obj = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        self.recorder.event(obj, "Warning", reason, message)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    task = asyncio.ensure_future(world.recorder.run())
    yield world
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_event_says_what_happened_to_whom(world: World) -> None:
    world.report("no room")
    await world.clock.advance(1)
    (event,) = world.store.events.values()
    assert event["metadata"]["namespace"] == "default"
    assert event["metadata"]["name"].startswith("web-0.")
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "default",
        "name": "web-0",
        "uid": "uid-web-0",
    }
    assert event["source"] == {"component": "scheduler", "host": "h"}
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "Failed", 1)
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-01T00:00:00Z"


async def test_the_same_again_only_counts(world: World) -> None:
    for _ in range(3):
        world.report("no room")
        await world.clock.advance(10)
    world.report("other")
    await world.clock.advance(1)
    assert world.store.counts() == [("no room", 3), ("other", 1)]
    first = next(iter(world.store.events.values()))
    assert first["firstTimestamp"] == "2026-01-01T00:00:00Z"
    assert first["lastTimestamp"] == "2026-01-01T00:00:20Z"


async def test_reports_that_wait_together_are_one_write(world: World) -> None:
    for _ in range(5):
        world.report("no room")
    await world.clock.advance(1)
    assert world.store.counts() == [("no room", 5)]


async def test_many_different_messages_are_combined(world: World) -> None:
    for index in range(14):
        world.report(f"try {index}")
        await world.clock.advance(1)
    counts = world.store.counts()
    assert len(counts) == 11
    assert counts[-1] == (f"{COMBINED_PREFIX}try 13", 4)


async def test_one_object_cannot_flood(world: World) -> None:
    for _ in range(100):
        world.report("again")
    world.report("hello", pod="web-1")
    await world.clock.advance(1)
    assert world.store.counts() == [("again", BURST), ("hello", 1)]
    assert world.recorder.dropped_count == 100 - BURST
    await world.clock.advance(301)
    world.report("again")
    await world.clock.advance(1)
    assert world.store.counts()[0] == ("again", BURST + 1)


async def test_what_waits_has_a_bound(world: World) -> None:
    for index in range(PENDING_MAX + 10):
        world.report("no room", pod=f"p{index}")
    assert world.recorder.dropped_count == 10
    await world.clock.advance(1)


async def test_an_outage_delays_and_a_refusal_drops(world: World) -> None:
    world.store.failures = [ServiceUnavailableError("down")] * 3 + [ForbiddenError("terminating")]
    world.report("one")
    world.report("two")
    world.report("three")
    await world.clock.advance(5)
    assert [message for message, _ in world.store.counts()] == ["two", "three"]


async def test_an_event_that_expired_is_made_anew(world: World) -> None:
    world.report("no room")
    await world.clock.advance(1)
    world.store.events.clear()
    world.report("no room")
    await world.clock.advance(1)
    assert world.store.counts() == [("no room", 1)]


async def test_cluster_scoped_objects_report_into_default(world: World) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0"}}
    world.recorder.event(node, "Normal", "Ready", "x" * 5000)
    await world.clock.advance(1)
    (event,) = world.store.events.values()
    assert event["metadata"]["namespace"] == "default"
    assert len(event["message"]) == 1024
