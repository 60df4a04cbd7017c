"""A ReplicaSet never gets too many Pods, however late the cache and however lost the answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.controllers.replica_set.controller import ReplicaSetController
from kubraft.api.errors import ApiError
from kubraft.api.gvk import POD, REPLICA_SET
from kubraft.api.object import key_of
from tests.agents.controllers.lagging_api import LaggingApi
from tests.agents.controllers.objects import pod, replica_set

outcomes = st.lists(st.sampled_from(["ok", "ok", "refused", "lost", "unheard"]), max_size=12)
moves = st.lists(
    st.tuples(st.sampled_from(["reconcile", "deliver", "fail"]), st.integers(0, 4)), max_size=30
)


@given(replicas=st.integers(0, 6), answers=outcomes, script=moves)
@settings(max_examples=150, deadline=None)
def test_pods_never_exceed_the_spec_and_reach_it(
    replicas: int, answers: list[str], script: list[tuple[str, int]]
) -> None:
    asyncio.run(_play(replicas, answers, script))


async def _play(replicas: int, answers: list[str], script: list[tuple[str, int]]) -> None:
    api = LaggingApi()
    controller = ReplicaSetController(api.context())
    owner = api.put(replica_set(replicas=replicas))
    api.deliver_all()
    api.outcomes.extend(answers)
    for move, number in script:
        match move:
            case "reconcile":
                with suppress(ApiError):
                    await controller.reconcile(key_of(owner))
            case "deliver":
                api.deliver(number)
            case "fail" if pods := api.of_kind(POD):
                api.remove((POD, key_of(pods[number % len(pods)])))
        assert len(api.of_kind(POD)) <= replicas
    api.outcomes.clear()
    for _ in range(4):
        api.deliver_all()
        await controller.reconcile(key_of(owner))
    assert len(api.of_kind(POD)) == replicas
    (stored,) = api.of_kind(REPLICA_SET)
    assert stored["status"]["replicas"] == replicas


async def test_a_create_without_an_answer_is_not_made_twice() -> None:
    api = LaggingApi()
    controller = ReplicaSetController(api.context())
    owner = api.put(replica_set(replicas=1))
    api.deliver_all()
    api.outcomes.append("lost")
    for _ in range(3):
        with suppress(ApiError):
            await controller.reconcile(key_of(owner))
    assert len(api.of_kind(POD)) == 1


@pytest.mark.parametrize("answer", ["ok", "lost"])
async def test_the_pod_of_a_lost_create_that_was_deleted_is_not_taken_for_the_next(
    answer: str,
) -> None:
    api = LaggingApi()
    controller = ReplicaSetController(api.context())
    owner = api.put(replica_set(replicas=1))
    api.deliver_all()
    api.outcomes.extend(["lost", answer])
    with suppress(ApiError):
        await controller.reconcile(key_of(owner))
    (lost,) = api.of_kind(POD)
    api.remove((POD, key_of(lost)))
    with suppress(ApiError):
        await controller.reconcile(key_of(owner))
    # The cache hears of the first Pod and its end, and not yet of the second.
    while not controller._pods.get(key_of(lost)):
        api.deliver()
    while controller._pods.get(key_of(lost)):
        api.deliver()
    await controller.reconcile(key_of(owner))
    assert len(api.of_kind(POD)) == 1


async def test_a_refusal_does_not_settle_a_create_without_an_answer() -> None:
    # A quota refuses the repeated create because the first one, whose answer was lost, counts.
    api = LaggingApi()
    controller = ReplicaSetController(api.context())
    owner = api.put(replica_set(replicas=1))
    api.deliver_all()
    api.outcomes.extend(["lost", "refused"])
    for _ in range(3):
        with suppress(ApiError):
            await controller.reconcile(key_of(owner))
    assert len(api.of_kind(POD)) == 1


async def test_adoption_and_release_follow_the_selector() -> None:
    api = LaggingApi()
    controller = ReplicaSetController(api.context())
    owner = api.put(replica_set(replicas=2))
    api.put(pod("orphan"))
    released = pod("released", owner, labels={"app": "debug"})
    api.put(released)
    api.deliver_all()
    await controller.reconcile(key_of(owner))
    owned = {p["metadata"]["name"] for p in api.of_kind(POD) if "ownerReferences" in p["metadata"]}
    assert "orphan" in owned
    assert "released" not in owned
    assert len(owned) == 2
