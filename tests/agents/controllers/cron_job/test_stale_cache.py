"""Each moment of a schedule starts one Job, however late the cache and lost the answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.controllers.cron_job.controller import CronJobController
from agents.controllers.job.reading import is_finished
from kubraft.api.errors import ApiError
from kubraft.api.gvk import CRON_JOB, JOB
from kubraft.api.object import key_of
from kubraft.api.time import format_time
from tests.agents.controllers.lagging_api import LaggingApi
from tests.agents.controllers.objects import cron_job

outcomes = st.lists(st.sampled_from(["ok", "ok", "refused", "lost", "unheard"]), max_size=6)
KINDS_OF_MOVES = ["reconcile", "deliver", "finish", "minute"]
moves = st.lists(st.tuples(st.sampled_from(KINDS_OF_MOVES), st.integers(0, 4)), max_size=25)


@pytest.mark.parametrize("policy", ["Allow", "Forbid", "Replace"])
@given(answers=outcomes, script=moves)
@settings(max_examples=40, deadline=None)
def test_one_job_a_moment(policy: str, answers: list[str], script: list[tuple[str, int]]) -> None:
    asyncio.run(_play(policy, answers, script))


async def _play(policy: str, answers: list[str], script: list[tuple[str, int]]) -> None:
    api = LaggingApi()
    controller = CronJobController(api.context())
    made = cron_job(schedule="* * * * *", concurrencyPolicy=policy, successfulJobsHistoryLimit=100)
    made["metadata"]["creationTimestamp"] = format_time(api.clock.now())
    key = key_of(api.put(made))
    api.deliver_all()
    api.outcomes.extend(answers)
    minutes = 0
    for move, number in script:
        match move:
            case "reconcile":
                with suppress(ApiError):
                    await controller.reconcile(key)
            case "deliver":
                api.deliver(number)
            case "finish":
                for job in api.of_kind(JOB)[:number]:
                    _finish(api, job)
            case "minute":
                # A cache is late, but not by a minute.
                api.deliver_all()
                await api.clock.advance(60)
                minutes += 1
        running = [job for job in api.of_kind(JOB) if not is_finished(job)]
        assert len(running) <= (minutes if policy == "Allow" else 1)
    api.outcomes.clear()
    await api.clock.advance(60)
    for _ in range(5):
        api.deliver_all()
        with suppress(ApiError):
            await controller.reconcile(key)
        for job in api.of_kind(JOB):
            _finish(api, job)
    (stored,) = api.of_kind(CRON_JOB)
    assert stored["status"]["lastScheduleTime"] == format_time(api.clock.now())
    assert "active" not in stored["status"]


def _finish(api: LaggingApi, job: dict[str, object]) -> None:
    if not is_finished(job):
        now = format_time(api.clock.now())
        condition = {"type": "Complete", "status": "True"}
        status = {"startTime": now, "completionTime": now, "conditions": [condition]}
        api.put({**job, "status": status})
