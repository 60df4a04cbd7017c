"""Jobs against the real API server on a real etcd."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.conditions import find_condition
from kubraft.api.gvk import CRON_JOB, JOB, POD
from kubraft.api.object import Object
from tests.agents.controllers.cluster import Cluster
from tests.agents.controllers.hollow_node import DONE, FAILS
from tests.harness.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("controllers")]


async def _create(cluster: Cluster, image: str, **spec: Any) -> Object:
    template = {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}
    return await cluster.client.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "once", "namespace": cluster.namespace},
            "spec": {"template": {"spec": template}, **spec},
        }
    )


def _status(cluster: Cluster) -> dict[str, Any]:
    return (cluster.get(JOB, "once") or {}).get("status") or {}


def _has(cluster: Cluster, type_: str, status: str = "True") -> bool:
    found = find_condition(_status(cluster).get("conditions"), type_)
    return found is not None and found["status"] == status


async def test_an_indexed_job_runs_to_completion_and_takes_its_pods_with_it(
    cluster: Cluster,
) -> None:
    await _create(cluster, DONE, completions=3, parallelism=2, completionMode="Indexed")
    await eventually(lambda: _has(cluster, "Complete"))
    status = _status(cluster)
    assert (status["succeeded"], status["completedIndexes"]) == (3, "0-2")
    assert status["uncountedTerminatedPods"] == {}
    pods = cluster.of(POD)
    assert sorted(pod["spec"]["hostname"] for pod in pods) == ["once-0", "once-1", "once-2"]
    await eventually(lambda: not any(p["metadata"].get("finalizers") for p in cluster.of(POD)))
    await cluster.eventually_said("Completed", "Job completed")
    await cluster.client.delete(JOB, "once", cluster.namespace, propagation="Background")
    await eventually(lambda: not cluster.of(POD))


async def test_a_job_that_fails_too_often_says_so(cluster: Cluster) -> None:
    await _create(cluster, FAILS, backoffLimit=1)
    await eventually(lambda: _has(cluster, "Failed"))
    status = _status(cluster)
    failed = find_condition(status["conditions"], "Failed") or {}
    assert failed["reason"] == "BackoffLimitExceeded"
    assert status["failed"] == 2
    await cluster.eventually_said("BackoffLimitExceeded", failed["message"])


async def test_a_suspended_job_waits_and_a_finished_one_goes_by_its_time_to_live(
    cluster: Cluster,
) -> None:
    await _create(cluster, DONE, suspend=True, ttlSecondsAfterFinished=1)
    await eventually(lambda: _has(cluster, "Suspended"))
    assert not cluster.of(POD)
    await cluster.client.patch(JOB, "once", {"spec": {"suspend": False}}, cluster.namespace)
    await eventually(lambda: _has(cluster, "Suspended", "False") and _has(cluster, "Complete"))
    await eventually(lambda: not cluster.of(JOB) and not cluster.of(POD))


async def test_a_running_job_is_ended_by_its_deadline_and_by_its_owner(cluster: Cluster) -> None:
    await _create(cluster, "runs", activeDeadlineSeconds=2)
    await eventually(lambda: _status(cluster).get("ready") == 1)
    await eventually(lambda: _has(cluster, "Failed"))
    assert (find_condition(_status(cluster)["conditions"], "Failed") or {})[
        "reason"
    ] == "DeadlineExceeded"
    await eventually(lambda: not cluster.of(POD))


async def test_a_cron_job_starts_jobs_until_it_is_suspended(cluster: Cluster) -> None:
    template = {"restartPolicy": "Never", "containers": [{"name": "main", "image": DONE}]}
    await cluster.client.create(
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "often", "namespace": cluster.namespace},
            "spec": {
                "schedule": "@every 1s",
                "timeZone": "Europe/Paris",
                "jobTemplate": {"spec": {"template": {"spec": template}}},
            },
        }
    )

    def status() -> dict[str, Any]:
        return (cluster.get(CRON_JOB, "often") or {}).get("status") or {}

    await eventually(lambda: "lastSuccessfulTime" in status() and "lastScheduleTime" in status())
    name = cluster.of(JOB)[0]["metadata"]["name"]
    assert name.startswith("often-")
    await cluster.eventually_said("SuccessfulCreate", f"Created job {name}")
    await cluster.client.patch(CRON_JOB, "often", {"spec": {"suspend": True}}, cluster.namespace)
    await cluster.client.delete(CRON_JOB, "often", cluster.namespace)
    await eventually(lambda: not cluster.of(JOB))
