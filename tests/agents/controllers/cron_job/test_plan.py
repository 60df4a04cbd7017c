from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agents.controllers.cron_job.plan import (
    due,
    followed,
    is_too_late,
    job_of,
    next_check_s,
    outlived,
)
from kubraft.api.cron import parse_schedule
from kubraft.api.object import Object
from tests.agents.controllers.objects import NOW, at, cron_job, job


def _finished(name: str, type_: str, started: float) -> Object:
    made = job(name)
    condition = {"type": type_, "status": "True"}
    made["status"] = {
        "startTime": at(started),
        "completionTime": at(started + 5),
        "conditions": [condition],
    }
    return made


@pytest.mark.parametrize(
    ("last", "spec", "moment", "missed"),
    [
        pytest.param(-600, {}, 0, 0, id="now"),
        pytest.param(0, {}, None, 0, id="started already"),
        pytest.param(-3600, {}, 0, 5, id="only the last of those missed"),
        pytest.param(-3600, {"startingDeadlineSeconds": 60}, 0, 0, id="within the deadline"),
        pytest.param(-600, {"schedule": "5 * * * *"}, None, 0, id="not yet"),
        pytest.param(-100_000, {"schedule": "* * * * *"}, 0, 1666, id="very many"),
    ],
)
def test_for_which_moment_a_job_is_due(
    last: float, spec: dict[str, Any], moment: float | None, missed: int
) -> None:
    owner = cron_job(**spec)
    owner["status"] = {"lastScheduleTime": at(last)}
    found = due(owner, parse_schedule(owner["spec"]["schedule"]), UTC, NOW)
    expected = None if moment is None else NOW + timedelta(seconds=moment)
    assert (found.moment, found.missed) == (expected, missed)


@pytest.mark.parametrize(
    ("schedule", "last", "wait_s"),
    [("*/10 * * * *", 0, 600.1), ("@every 1h", -1800, 1800.1), ("0 13 * * *", 0, 3600.1)],
)
def test_when_to_look_again(schedule: str, last: float, wait_s: float) -> None:
    owner = cron_job(schedule=schedule)
    owner["status"] = {"lastScheduleTime": at(last)}
    assert next_check_s(owner, parse_schedule(schedule), UTC, NOW) == pytest.approx(wait_s)


@pytest.mark.parametrize(("deadline_s", "late"), [(None, False), (59, True), (61, False)])
def test_the_starting_deadline(deadline_s: int | None, late: bool) -> None:
    owner = cron_job(startingDeadlineSeconds=deadline_s)
    assert is_too_late(owner, NOW - timedelta(seconds=60), NOW) is late


def test_a_job_says_for_which_moment_it_is() -> None:
    made = job_of(cron_job(), NOW, ZoneInfo("Europe/Paris"))
    assert made["metadata"]["name"] == f"nightly-{int(NOW.timestamp()) // 60}"
    annotation = "batch.kubernetes.io/cronjob-scheduled-timestamp"
    assert made["metadata"]["annotations"][annotation] == "2026-03-01T13:00:00+01:00"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-nightly"


def test_only_so_many_finished_jobs_stay() -> None:
    jobs = [_finished(f"ok-{n}", "Complete", n) for n in range(5)]
    jobs += [_finished(f"bad-{n}", "Failed", n) for n in range(3)]
    dropped = [made["metadata"]["name"] for made in outlived(cron_job(), jobs)]
    assert dropped == ["ok-0", "ok-1", "bad-0", "bad-1"]
    spec: dict[str, Any] = {"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 5}
    assert len(outlived(cron_job(**spec), jobs)) == 5


def test_what_became_of_active_jobs() -> None:
    owner = cron_job()
    running, done = job("running"), _finished("done", "Complete", -50)
    names = ("running", "done", "lost")
    owner["status"] = {"active": [{"name": name, "uid": f"uid-{name}"} for name in names]}
    forgotten = job_of(owner, NOW, UTC)
    forgotten["metadata"]["uid"] = "uid-forgotten"
    status, said = followed(owner, [running, done, job("stranger"), forgotten])
    active = [reference["name"] for reference in status["active"]]
    assert active == ["running", forgotten["metadata"]["name"]]
    assert status["lastScheduleTime"] == at(0)
    assert status["lastSuccessfulTime"] == at(-45)
    assert [reason for _, reason, _ in said] == ["SawCompletedJob", "MissingJob", "UnexpectedJob"]
