from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agents.controllers.job.backoff import Record
from agents.controllers.job.picture import look
from agents.controllers.job.plan import Plan, plan
from agents.controllers.job.pod import job_pod
from kubraft.api.object import Object
from tests.agents.controllers.job.job_pods import job_pod_of
from tests.agents.controllers.objects import NOW, job


def _decided(owner: Object, pods: list[Object], record: Record | None = None) -> Plan:
    return plan(look(owner, pods), record or Record(), NOW)


@pytest.mark.parametrize(
    ("spec", "phases", "create", "delete"),
    [
        pytest.param({"completions": 3, "parallelism": 2}, [], 2, 0, id="as many as may run"),
        pytest.param({"completions": 3, "parallelism": 2}, ["Running"], 1, 0, id="one more"),
        pytest.param(
            {"completions": 3, "parallelism": 3}, ["Succeeded"] * 2, 1, 0, id="only what is left"
        ),
        pytest.param({"completions": 1, "parallelism": 9}, [], 1, 0, id="never more than wanted"),
        pytest.param({"completions": None, "parallelism": 2}, ["Running"], 1, 0, id="a work queue"),
        pytest.param(
            {"completions": None, "parallelism": 3},
            ["Running", "Succeeded"],
            0,
            0,
            id="nothing new after the first success of a work queue",
        ),
        pytest.param({"parallelism": 0}, ["Running"], 0, 1, id="no parallelism"),
        pytest.param({"suspend": True}, ["Running"], 0, 1, id="suspended"),
        pytest.param(
            {"completions": 2, "parallelism": 1}, ["Running"] * 2, 0, 1, id="fewer at a time"
        ),
    ],
)
def test_how_many_pods_run(
    spec: dict[str, Any], phases: list[str], create: int, delete: int
) -> None:
    owner = job(**spec)
    pods = [job_pod_of(owner, f"p{i}", phase) for i, phase in enumerate(phases)]
    decided = _decided(owner, pods)
    assert (len(decided.create), len(decided.delete)) == (create, delete)


def test_an_indexed_job_makes_its_lowest_missing_indexes() -> None:
    owner = job(completionMode="Indexed", completions=5, parallelism=3)
    pods = [
        job_pod_of(owner, "a", "Succeeded", index=0),
        job_pod_of(owner, "b", index=2),
        job_pod_of(owner, "c", "Failed", index=1),
    ]
    assert _decided(owner, pods).create == (1, 3)


def test_of_two_pods_of_one_index_one_goes() -> None:
    owner = job(completionMode="Indexed", completions=2, parallelism=2)
    pods = [job_pod_of(owner, f"p{i}", index=i % 2) for i in range(3)]
    (victim,) = _decided(owner, pods).delete
    assert victim["metadata"]["name"] in ("p0", "p2")


def test_an_index_beyond_the_completions_goes() -> None:
    owner = job(completionMode="Indexed", completions=1, parallelism=1)
    pods = [job_pod_of(owner, "p0", index=0), job_pod_of(owner, "p5", index=5)]
    assert [p["metadata"]["name"] for p in _decided(owner, pods).delete] == ["p5"]


@pytest.mark.parametrize(("policy", "create"), [("TerminatingOrFailed", 1), ("Failed", 0)])
def test_when_a_terminating_pod_is_replaced(policy: str, create: int) -> None:
    owner = job(podReplacementPolicy=policy)
    pods = [job_pod_of(owner, "going", terminating=True)]
    assert len(_decided(owner, pods).create) == create


@pytest.mark.parametrize(("failures", "wait_s"), [(1, 5), (2, 15), (3, 35), (9, 595), (30, 595)])
def test_failures_delay_the_next_pod(failures: int, wait_s: float) -> None:
    record = Record(failures, NOW - timedelta(seconds=5))
    assert _decided(job(), [], record) == Plan(wait_s=wait_s)


def test_a_success_ends_the_delay() -> None:
    owner = job()
    failed = [job_pod_of(owner, f"f{i}", "Failed", ended=30) for i in range(3)]
    record = Record().after((), failed)
    assert record.failures == 3
    assert record.after([job_pod_of(owner, "s", "Succeeded", ended=20)], ()) == Record()


def test_an_index_waits_for_its_own_failures_only() -> None:
    owner = job(completionMode="Indexed", completions=2, parallelism=2, backoffLimitPerIndex=3)
    pods = [job_pod_of(owner, "a", "Failed", index=0, ended=4)]
    decided = _decided(owner, pods)
    assert decided.create == (1,)
    assert decided.wait_s == 6


def test_the_next_pod_of_an_index_knows_how_often_it_failed() -> None:
    owner = job(completionMode="Indexed", completions=2, parallelism=1, backoffLimitPerIndex=3)
    counted = {"batch.kubernetes.io/job-index-failure-count": "1"}
    failed = job_pod_of(owner, "a", "Failed", index=0, annotations=counted)
    made = job_pod(owner, "b", 0, look(owner, [failed]).delayed[0])
    assert made["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] == "2"


def test_what_a_pod_of_an_indexed_job_is_told() -> None:
    owner = job(completionMode="Indexed", completions=2)
    made = job_pod(owner, "once-1-abcde", 1)
    key = "batch.kubernetes.io/job-completion-index"
    assert made["metadata"]["labels"][key] == made["metadata"]["annotations"][key] == "1"
    assert made["metadata"]["generateName"] == "once-1-"
    assert made["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert made["spec"]["hostname"] == "once-1"
    (variable,) = made["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
