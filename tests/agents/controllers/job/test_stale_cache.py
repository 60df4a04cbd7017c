"""Each Pod of a Job is counted once, and none is made too many, however late the cache."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.controllers.job.controller import JobController
from agents.controllers.job.reading import is_tracked
from kubraft.api.errors import ApiError
from kubraft.api.gvk import JOB, POD
from kubraft.api.object import Object, is_terminating, key_of
from kubraft.api.pods import is_active
from tests.agents.controllers.lagging_api import LaggingApi
from tests.agents.controllers.objects import at, job

outcomes = st.lists(st.sampled_from(["ok", "ok", "refused", "lost", "unheard"]), max_size=8)
KINDS_OF_MOVES = ["reconcile", "deliver", "succeed", "fail", "delete", "restart"]
moves = st.lists(st.tuples(st.sampled_from(KINDS_OF_MOVES), st.integers(0, 5)), max_size=30)


@given(
    completions=st.integers(1, 4),
    parallelism=st.integers(1, 4),
    mode=st.sampled_from(["NonIndexed", "Indexed"]),
    answers=outcomes,
    script=moves,
)
@settings(max_examples=100, deadline=None)
def test_every_pod_counts_once(
    completions: int, parallelism: int, mode: str, answers: list[str], script: list[tuple[str, int]]
) -> None:
    owner = job(
        completions=completions, parallelism=parallelism, completionMode=mode, backoffLimit=1000
    )
    asyncio.run(_play(owner, answers, script))


class _World:
    def __init__(self, owner: Object) -> None:
        self.api = LaggingApi()
        self.owner = self.api.put(owner)
        self.api.deliver_all()
        self.controller = JobController(self.api.context())
        self.failed = 0

    def live(self) -> list[Object]:
        return [pod for pod in self.api.of_kind(POD) if is_active(pod)]

    def end(self, number: int, phase: str) -> None:
        if live := self.live():
            pod = live[number % len(live)]
            ended = {"exitCode": 1, "finishedAt": at(-100_000_000)}
            containers = [{"name": "main", "state": {"terminated": ended}}]
            self.failed += phase == "Failed"
            self.api.put({**pod, "status": {"phase": phase, "containerStatuses": containers}})

    def delete(self, number: int) -> None:
        if live := self.live():
            pod = live[number % len(live)]
            self.failed += 1
            metadata = {**pod["metadata"], "deletionTimestamp": at(-100_000_000)}
            self.api.put({**pod, "metadata": metadata})

    def restart(self) -> None:
        """A new process: its caches are full before it acts, and it remembers nothing."""
        self.api.deliver_all()
        for informer in self.api.informers.all():
            informer._handlers.clear()
        self.controller = JobController(self.api.context())

    async def reconcile(self) -> None:
        with suppress(ApiError):
            await self.controller.reconcile(key_of(self.owner))

    @property
    def status(self) -> dict[str, Any]:
        (stored,) = self.api.of_kind(JOB)
        return stored.get("status") or {}


async def _play(owner: Object, answers: list[str], script: list[tuple[str, int]]) -> None:
    world = _World(owner)
    world.api.outcomes.extend(answers)
    wanted = owner["spec"]["completions"]
    most = min(owner["spec"]["parallelism"], wanted)
    for move, number in script:
        match move:
            case "reconcile":
                await world.reconcile()
            case "deliver":
                world.api.deliver(number)
            case "succeed":
                world.end(number, "Succeeded")
            case "fail":
                world.end(number, "Failed")
            case "delete":
                world.delete(number)
            case "restart":
                world.restart()
        assert len(world.live()) <= most
    world.api.outcomes.clear()
    for _ in range(40):
        world.api.deliver_all()
        await world.reconcile()
        for pod in world.api.of_kind(POD):
            if is_terminating(pod) and not is_tracked(pod):
                world.api.remove((POD, key_of(pod)))
        if "completionTime" in world.status:
            break
        world.end(0, "Succeeded")
    status = world.status
    assert [c["type"] for c in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
    assert status["succeeded"] >= wanted
    assert status.get("failed", 0) == world.failed
    assert status["uncountedTerminatedPods"] == {}
    assert not any(map(is_tracked, world.api.of_kind(POD)))
