"""Ordered Pods come and go one after another, however late the cache and lost the answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.controllers.stateful_set.controller import StatefulSetController
from kubraft.api.errors import ApiError
from kubraft.api.gvk import PERSISTENT_VOLUME_CLAIM, POD, STATEFUL_SET
from kubraft.api.object import key_of
from kubraft.api.pods import is_pod_ready
from tests.agents.controllers.lagging_api import LaggingApi
from tests.agents.controllers.objects import at, stateful_set, with_image

outcomes = st.lists(st.sampled_from(["ok", "ok", "refused", "lost", "unheard"]), max_size=8)
KINDS_OF_MOVES = ["reconcile", "deliver", "ready", "update", "scale"]
moves = st.lists(st.tuples(st.sampled_from(KINDS_OF_MOVES), st.integers(0, 4)), max_size=25)
CLAIM = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}


@given(answers=outcomes, script=moves)
@settings(max_examples=80, deadline=None)
def test_at_most_one_is_not_ready(answers: list[str], script: list[tuple[str, int]]) -> None:
    asyncio.run(_play(answers, script))


async def _play(answers: list[str], script: list[tuple[str, int]]) -> None:
    api = LaggingApi()
    controller = StatefulSetController(api.context())
    key = key_of(api.put(stateful_set(volumeClaimTemplates=[CLAIM])))
    api.deliver_all()
    api.outcomes.extend(answers)
    version, replicas = 1, 3
    for move, number in script:
        (stored,) = api.of_kind(STATEFUL_SET)
        match move:
            case "reconcile":
                with suppress(ApiError):
                    await controller.reconcile(key)
            case "deliver":
                api.deliver(number)
            case "ready":
                _make_ready(api)
            case "update":
                version += 1
                api.put(with_image(stored, f"web:{version}"))
            case "scale":
                replicas = number
                api.put({**stored, "spec": {**stored["spec"], "replicas": number}})
        assert sum(not is_pod_ready(pod) for pod in api.of_kind(POD)) <= 1
    api.outcomes.clear()
    for _ in range(20):
        api.deliver_all()
        with suppress(ApiError):
            await controller.reconcile(key)
        _make_ready(api)
    pods = sorted(api.of_kind(POD), key=lambda p: p["metadata"]["name"])
    assert [p["metadata"]["name"] for p in pods] == [f"db-{n}" for n in range(replicas)]
    assert all(p["spec"]["containers"][0]["image"] == f"web:{version}" for p in pods)
    claims = {key_of(claim).name for claim in api.of_kind(PERSISTENT_VOLUME_CLAIM)}
    assert claims >= {f"data-db-{n}" for n in range(replicas)}


def _make_ready(api: LaggingApi) -> None:
    for pod in api.of_kind(POD):
        if "status" not in pod:
            condition = {"type": "Ready", "status": "True", "lastTransitionTime": at(-9)}
            api.put({**pod, "status": {"phase": "Running", "conditions": [condition]}})
