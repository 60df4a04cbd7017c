"""A node never gets two Pods of a DaemonSet, however late the cache and lost the answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.controllers.daemon_set.controller import DaemonSetController
from agents.controllers.daemon_set.placement import target_of
from kubraft.api.errors import ApiError
from kubraft.api.gvk import CONTROLLER_REVISION, DAEMON_SET, POD
from kubraft.api.object import Object, key_of
from tests.agents.controllers.lagging_api import LaggingApi
from tests.agents.controllers.objects import at, daemon_set, node, with_image

outcomes = st.lists(st.sampled_from(["ok", "ok", "refused", "lost", "unheard"]), max_size=8)
KINDS_OF_MOVES = ["reconcile", "deliver", "ready", "lose", "update"]
moves = st.lists(st.tuples(st.sampled_from(KINDS_OF_MOVES), st.integers(0, 4)), max_size=25)
NODES = 3


@given(answers=outcomes, script=moves)
@settings(max_examples=80, deadline=None)
def test_one_pod_a_node(answers: list[str], script: list[tuple[str, int]]) -> None:
    asyncio.run(_play(answers, script))


async def _play(answers: list[str], script: list[tuple[str, int]]) -> None:
    api = LaggingApi()
    controller = DaemonSetController(api.context())
    owner = api.put(daemon_set())
    for number in range(NODES):
        api.put(node(f"n{number}"))
    api.deliver_all()
    api.outcomes.extend(answers)
    version = 1
    for move, number in script:
        pods = api.of_kind(POD)
        match move:
            case "reconcile":
                with suppress(ApiError):
                    await controller.reconcile(key_of(owner))
            case "deliver":
                api.deliver(number)
            case "ready":
                _all_ready(api)
            case "lose" if pods:
                api.remove((POD, key_of(pods[number % len(pods)])))
            case "update":
                version += 1
                _set_image(api, f"web:{version}")
        assert all(count == 1 for count in Counter(map(target_of, api.of_kind(POD))).values())
    api.outcomes.clear()
    for _ in range(4 * NODES):
        api.deliver_all()
        with suppress(ApiError):
            await controller.reconcile(key_of(owner))
        _all_ready(api)
    images = [p["spec"]["containers"][0]["image"] for p in api.of_kind(POD)]
    assert images == [f"web:{version}"] * NODES
    numbers = [r["revision"] for r in api.of_kind(CONTROLLER_REVISION)]
    assert len(numbers) == len(set(numbers))


def _all_ready(api: LaggingApi) -> None:
    for pod in api.of_kind(POD):
        if "status" not in pod:
            condition = {"type": "Ready", "status": "True", "lastTransitionTime": at(-9)}
            api.put({**pod, "status": {"phase": "Running", "conditions": [condition]}})


def _set_image(api: LaggingApi, image: str) -> Object:
    (stored,) = api.of_kind(DAEMON_SET)
    return api.put(with_image(stored, image))
