"""The garbage collector never deletes what has a living owner, and finds all that has none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.controllers.garbage.controller import GarbageCollector
from agents.controllers.garbage.judgement import FOREGROUND, ORPHAN, owners_of
from kubraft.api.gvk import POD, REPLICA_SET
from kubraft.api.object import Object, ObjectKey, uid_of
from tests.agents.controllers.lagging_api import LaggingApi
from tests.agents.controllers.objects import pod, replica_set

moves = st.lists(
    st.tuples(
        st.sampled_from(["owner", "child", "delete", "deliver", "work"]),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    max_size=40,
)


@contextlib.asynccontextmanager
async def collecting(api: LaggingApi) -> AsyncIterator[None]:
    context = api.context()
    collector = GarbageCollector(context)
    await context.discovery.refresh()
    task = asyncio.create_task(collector.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settle(api: LaggingApi) -> None:
    for _ in range(6):
        api.deliver_all()
        await api.clock.advance(61)


@given(script=moves)
@settings(max_examples=120, deadline=None)
def test_what_has_a_living_owner_stays_all_else_goes(
    script: list[tuple[str, int, int]],
) -> None:
    asyncio.run(_play(script))


async def _play(script: list[tuple[str, int, int]]) -> None:
    api = LaggingApi()
    async with collecting(api):
        for number, (move, first, second) in enumerate(script):
            owner = ObjectKey("default", f"o{first}")
            match move:
                case "owner" if (REPLICA_SET, owner) not in api.objects:
                    fresh = replica_set(owner.name)
                    fresh["metadata"]["uid"] = f"uid-{owner.name}-{number}"
                    api.put(fresh)
                case "delete" if (REPLICA_SET, owner) in api.objects:
                    api.remove((REPLICA_SET, owner))
                case "child":
                    _put_child(api, f"c{number}", [f"o{first}", f"o{second}"])
                case "deliver":
                    api.deliver(first + 1)
                case "work":
                    await api.clock.advance(second)
        await settle(api)
    for obj, alive in api.deleted:
        assert not any(r["uid"] in alive for r in owners_of(obj))
    living = {uid_of(obj) for obj in api.objects.values()}
    for child in api.of_kind(POD):
        assert all(r["uid"] in living for r in owners_of(child))
        assert owners_of(child)


def _put_child(api: LaggingApi, name: str, owners: list[str]) -> None:
    """A Pod of those of the owners that exist; of none, no Pod."""
    child = pod(name)
    found = [api.objects.get((REPLICA_SET, ObjectKey("default", o))) for o in sorted(set(owners))]
    child["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": owner["metadata"]["name"],
            "uid": uid_of(owner),
        }
        for owner in found
        if owner
    ]
    if child["metadata"]["ownerReferences"]:
        api.put(child)


def dying(api: LaggingApi, finalizer: str) -> Object:
    owner = replica_set("owner")
    owner["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer]}
    return api.put(owner)


async def test_foreground_deletion_waits_for_what_blocks_it() -> None:
    api = LaggingApi()
    async with collecting(api):
        owner = dying(api, FOREGROUND)
        held = pod("held", owner)
        api.put(held)
        api.put(pod("free", owner))
        await settle(api)
        assert api.of_kind(POD) == []
        (left,) = api.of_kind(REPLICA_SET)
        assert left["metadata"]["finalizers"] == []


async def test_orphaning_lets_go_of_the_dependents_first() -> None:
    api = LaggingApi()
    async with collecting(api):
        owner = dying(api, ORPHAN)
        api.put(pod("child", owner))
        await settle(api)
        (child,) = api.of_kind(POD)
        assert "ownerReferences" not in child["metadata"]
        (left,) = api.of_kind(REPLICA_SET)
        assert left["metadata"]["finalizers"] == []


async def test_an_owner_of_an_unknown_kind_protects() -> None:
    api = LaggingApi()
    async with collecting(api):
        child = pod("child")
        child["metadata"]["ownerReferences"] = [
            {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "u"}
        ]
        api.put(child)
        await settle(api)
        assert len(api.of_kind(POD)) == 1
