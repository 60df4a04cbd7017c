from __future__ import annotations

from typing import Any

import pytest

from agents.controllers.job.picture import look
from agents.controllers.job.verdict import verdict
from kubraft.api.object import Object
from tests.agents.controllers.job.job_pods import job_pod_of
from tests.agents.controllers.objects import NOW, at, job

CODES = {"operator": "In", "values": [42]}
FAIL_JOB = {"rules": [{"action": "FailJob", "onExitCodes": CODES}]}
DISRUPTED = {"type": "DisruptionTarget", "status": "True"}
IGNORE = {"rules": [{"action": "Ignore", "onPodConditions": [DISRUPTED]}]}
FAIL_ON_DISRUPTION = {"rules": [{"action": "FailJob", "onPodConditions": [DISRUPTED]}]}
INDEXED: dict[str, Any] = {"completionMode": "Indexed", "completions": 3, "parallelism": 3}
BY_INDEX = {**INDEXED, "backoffLimit": 2**31 - 1, "backoffLimitPerIndex": 0}


def _reason(owner: Object, pods: list[Object]) -> tuple[str, str, str] | None:
    found = verdict(look(owner, pods), NOW)
    return (found["type"], found["reason"], found["message"]) if found else None


@pytest.mark.parametrize(
    ("spec", "pods", "expected"),
    [
        pytest.param({"backoffLimit": 1}, [{"phase": "Failed"}], None, id="one failure allowed"),
        pytest.param(
            {"backoffLimit": 1},
            [{"phase": "Failed"}] * 2,
            (
                "FailureTarget",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            ),
            id="one too many",
        ),
        pytest.param(
            {"backoffLimit": 0, "podFailurePolicy": IGNORE},
            [{"phase": "Failed", "condition": "DisruptionTarget"}],
            None,
            id="an ignored failure",
        ),
        pytest.param(
            {"podFailurePolicy": FAIL_JOB},
            [{"phase": "Failed", "exit_code": 42}],
            (
                "FailureTarget",
                "PodFailurePolicy",
                (
                    "Container main for pod default/p0 failed with exit code 42 matching FailJob "
                    "rule at index 0"
                ),
            ),
            id="an exit code that fails the Job",
        ),
        pytest.param(
            {"podFailurePolicy": FAIL_JOB},
            [{"phase": "Failed", "exit_code": 1}],
            None,
            id="another exit code",
        ),
        pytest.param(
            {"podFailurePolicy": FAIL_ON_DISRUPTION},
            [{"phase": "Failed", "condition": "DisruptionTarget"}],
            (
                "FailureTarget",
                "PodFailurePolicy",
                "Pod default/p0 has condition DisruptionTarget matching FailJob rule at index 0",
            ),
            id="a condition that fails the Job",
        ),
        pytest.param(
            {**BY_INDEX, "maxFailedIndexes": 0},
            [{"phase": "Failed", "index": 1}],
            (
                "FailureTarget",
                "MaxFailedIndexesExceeded",
                "Job has exceeded the specified maximal number of failed indexes",
            ),
            id="too many failed indexes",
        ),
        pytest.param(
            BY_INDEX,
            [{"phase": "Failed", "index": 1}],
            None,
            id="the other indexes go on",
        ),
        pytest.param(
            BY_INDEX,
            [
                {"phase": "Failed", "index": 0},
                {"phase": "Succeeded", "index": 1},
                {"phase": "Succeeded", "index": 2},
            ],
            ("FailureTarget", "FailedIndexes", "Job has failed indexes"),
            id="all indexes ended, one failed",
        ),
        pytest.param(
            {**INDEXED, "successPolicy": {"rules": [{"succeededIndexes": "2"}]}},
            [{"phase": "Succeeded", "index": 1}],
            None,
            id="another index succeeded",
        ),
        pytest.param(
            {
                **INDEXED,
                "successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 1}]},
            },
            [{"phase": "Succeeded", "index": 1}],
            ("SuccessCriteriaMet", "SuccessPolicy", "Matched rules at index 0"),
            id="the leader succeeded",
        ),
    ],
)
def test_what_ends_a_job(
    spec: dict[str, Any], pods: list[dict[str, Any]], expected: tuple[str, str, str] | None
) -> None:
    owner = job(**spec)
    made = [job_pod_of(owner, f"p{i}", **parts) for i, parts in enumerate(pods)]
    assert _reason(owner, made) == expected


@pytest.mark.parametrize(
    ("age_s", "suspend", "ends"), [(9, False, False), (10, False, True), (99, True, False)]
)
def test_the_deadline(age_s: float, suspend: bool, ends: bool) -> None:
    owner = job(activeDeadlineSeconds=10, suspend=suspend)
    owner["status"] = {"startTime": at(-age_s)}
    assert (_reason(owner, []) is not None) is ends


@pytest.mark.parametrize(("limit", "restarts", "ends"), [(0, 1, True), (3, 2, False), (3, 3, True)])
def test_restarts_in_place_count(limit: int, restarts: int, ends: bool) -> None:
    owner = job(backoffLimit=limit)
    owner["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    pod = job_pod_of(owner, "p")
    pod["status"]["containerStatuses"] = [{"name": "main", "restartCount": restarts}]
    assert (_reason(owner, [pod]) is not None) is ends


def test_a_verdict_stays() -> None:
    owner = job()
    known = {"type": "FailureTarget", "status": "True", "reason": "R", "message": "M"}
    owner["status"] = {"conditions": [known]}
    assert _reason(owner, []) == ("FailureTarget", "R", "M")
