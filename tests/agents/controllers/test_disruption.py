"""PodDisruptionBudgets against the real API server on a real etcd."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.gvk import POD, POD_DISRUPTION_BUDGET
from tests.agents.controllers.cluster import Cluster
from tests.harness.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("controllers")]


async def test_a_budget_tells_how_many_pods_may_go(cluster: Cluster) -> None:
    await cluster.client.create(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "some", "namespace": cluster.namespace},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "maxUnavailable": 0},
        }
    )
    await cluster.deploy(replicas=3)

    def status() -> dict[str, Any]:
        return (cluster.get(POD_DISRUPTION_BUDGET, "some") or {}).get("status") or {}

    await eventually(lambda: status().get("currentHealthy") == 3)
    assert (status()["desiredHealthy"], status()["disruptionsAllowed"]) == (3, 0)
    merge = {"spec": {"maxUnavailable": "30%"}}
    await cluster.client.patch(POD_DISRUPTION_BUDGET, "some", merge, cluster.namespace)
    await eventually(lambda: status()["disruptionsAllowed"] == 1)
    victim = cluster.alive()[0]["metadata"]["name"]
    gone = {"type": "Ready", "status": "False"}
    await cluster.client.patch(
        POD, victim, {"status": {"conditions": [gone]}}, cluster.namespace, "status"
    )
    await eventually(lambda: status()["disruptionsAllowed"] == 0)
    await cluster.client.delete(POD, victim, cluster.namespace)
    await eventually(lambda: status()["disruptionsAllowed"] == 1)
