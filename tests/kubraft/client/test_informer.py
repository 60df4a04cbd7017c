import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from kubraft.api.gvk import POD
from kubraft.api.object import Object, ObjectKey
from kubraft.client.client import ApiClient
from kubraft.client.informer import Informer
from tests.harness.eventually import eventually
from tests.harness.wire import Wire


def pod(name: str, node: str = "", namespace: str = "default") -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}}


def by_node(obj: Object) -> list[str]:
    return [obj["spec"]["nodeName"]] if obj["spec"]["nodeName"] else []


@asynccontextmanager
async def running(informer: Informer) -> AsyncIterator[Informer]:
    task = asyncio.ensure_future(informer.run())
    await asyncio.wait_for(informer.wait_synced(), 10)
    try:
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def names(objects: list[Object]) -> list[str]:
    return sorted(obj["metadata"]["name"] for obj in objects)


class Journal:
    """What a handler was told, as "+name", "~name" and "-name"."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.last: dict[str, Object] = {}

    def __call__(self, old: Object | None, new: Object | None) -> None:
        name = (new or old or {})["metadata"]["name"]
        # `old` is always what was told last.
        assert self.last.get(name) is old
        if new is None:
            del self.last[name]
        else:
            self.last[name] = new
        self.lines.append(("-" if new is None else "~" if old else "+") + name)


async def test_cache_and_indices_follow_the_server(client: ApiClient, wire: Wire) -> None:
    await wire.put(pod("a", "node-0"))
    await wire.put(pod("b", "node-0", namespace="other"))
    async with running(Informer(client, POD, indexers={"node": by_node})) as informer:
        assert names(informer.list()) == ["a", "b"]
        assert names(informer.list("other")) == ["b"]
        assert names(informer.by_index("node", "node-0")) == ["a", "b"]
        await wire.put(pod("a", "node-1"))
        await wire.remove("Pod", "other", "b")
        await eventually(lambda: names(informer.list()) == ["a"])
        assert informer.by_index("node", "node-0") == []
        assert names(informer.by_index("node", "node-1")) == ["a"]
        assert informer.get(ObjectKey("default", "a")) is not None
        assert informer.list("other") == []
        assert len(informer) == 1


async def test_handlers_hear_each_change_once_and_in_order(client: ApiClient, wire: Wire) -> None:
    await wire.put(pod("a"))
    journal = Journal()
    informer = Informer(client, POD)
    informer.add_handler(journal)
    async with running(informer):
        assert journal.lines == ["+a"]
        await wire.put(pod("b"))
        await wire.put(pod("a", "node-0"))
        await wire.remove("Pod", "default", "b")
        await eventually(lambda: len(journal.lines) == 4)
        assert journal.lines == ["+a", "+b", "~a", "-b"]
        late = Journal()
        informer.add_handler(late)
        assert late.lines == ["+a"]


async def test_a_handler_that_raises_does_not_stop_the_others(
    client: ApiClient, wire: Wire
) -> None:
    def broken(old: Object | None, new: Object | None) -> None:
        raise RuntimeError("broken")

    journal = Journal()
    informer = Informer(client, POD)
    informer.add_handler(broken)
    informer.add_handler(journal)
    async with running(informer):
        await wire.put(pod("a"))
        await eventually(lambda: journal.lines == ["+a"])


async def test_an_interrupted_watch_goes_on_without_gap_or_repeat(
    client: ApiClient, wire: Wire
) -> None:
    journal = Journal()
    informer = Informer(client, POD, rng=Random(1))
    informer.add_handler(journal)
    async with running(informer):
        for index in range(10):
            await wire.put(pod(f"p{index}"))
            if index % 3 == 0:
                wire.cut_watches()
        await eventually(lambda: len(journal.lines) == 10)
        assert journal.lines == [f"+p{index}" for index in range(10)]
        assert wire.calls.count("List") == 1


async def test_a_restarted_server_is_found_again(client: ApiClient, wire: Wire) -> None:
    async with running(Informer(client, POD)) as informer:
        await wire.stop()
        await wire.put(pod("while-away"))
        await wire.start()
        await eventually(lambda: names(informer.list()) == ["while-away"], timeout_s=5)
        assert wire.calls.count("List") == 1


async def test_lost_history_is_made_up_by_comparison(client: ApiClient, wire: Wire) -> None:
    await wire.put(pod("stays"))
    await wire.put(pod("changes"))
    await wire.put(pod("goes"))
    await wire.put(pod("reborn"))
    journal = Journal()
    informer = Informer(client, POD)
    informer.add_handler(journal)
    async with running(informer):
        journal.lines.clear()
        await wire.stop()
        await wire.put(pod("changes", "node-0"))
        await wire.remove("Pod", "default", "goes")
        await wire.remove("Pod", "default", "reborn")
        await wire.put(pod("reborn"))
        await wire.put(pod("new"))
        wire.compact()
        await wire.start()
        await eventually(lambda: "+new" in journal.lines)
        assert journal.lines[0] == "-goes"
        assert sorted(journal.lines) == ["+new", "+reborn", "-goes", "-reborn", "~changes"]
        assert journal.lines.index("-reborn") < journal.lines.index("+reborn")


async def test_not_synced_before_the_first_list(client: ApiClient, wire: Wire) -> None:
    await wire.stop()
    informer = Informer(client, POD)
    task = asyncio.ensure_future(informer.run())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(informer.wait_synced(), 0.2)
    assert not informer.synced
    await wire.start()
    await asyncio.wait_for(informer.wait_synced(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
