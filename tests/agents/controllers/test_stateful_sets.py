"""StatefulSets against the real API server on a real etcd."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.gvk import PERSISTENT_VOLUME_CLAIM, POD, STATEFUL_SET
from tests.agents.controllers.cluster import Cluster
from tests.harness.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("controllers")]


def _names(cluster: Cluster) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in cluster.alive())


def _is_done(cluster: Cluster, replicas: int) -> bool:
    found = cluster.get(STATEFUL_SET, "db") or {"metadata": {}}
    status: dict[str, Any] = found.get("status") or {}
    counts = [status.get(f"{name}eplicas", 0) for name in ("r", "readyR", "updatedR", "currentR")]
    seen = status.get("observedGeneration") == found["metadata"].get("generation")
    same = status.get("currentRevision") == status.get("updateRevision")
    return counts == [replicas] * 4 and seen and same


async def test_names_and_claims_stay(cluster: Cluster) -> None:
    labels = {"app": "db"}
    storage = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    await cluster.client.create(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": cluster.namespace},
            "spec": {
                "serviceName": "db",
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "main", "image": "db:1"}]},
                },
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": storage}],
            },
        }
    )
    await eventually(lambda: _is_done(cluster, 2))
    assert _names(cluster) == ["db-0", "db-1"]
    await cluster.eventually_said(
        "SuccessfulCreate", "create Pod db-0 in StatefulSet db successful"
    )
    await cluster.client.delete(POD, "db-0", cluster.namespace)
    await eventually(lambda: _is_done(cluster, 2) and _names(cluster) == ["db-0", "db-1"])
    merge = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "db:2"}]}}}}
    await cluster.client.patch(STATEFUL_SET, "db", merge, cluster.namespace)
    await eventually(lambda: _is_done(cluster, 2) and cluster.images() == ["db:2"] * 2)
    await cluster.client.patch(STATEFUL_SET, "db", {"spec": {"replicas": 1}}, cluster.namespace)
    await eventually(lambda: _is_done(cluster, 1))
    claims = cluster.informers[PERSISTENT_VOLUME_CLAIM]
    await eventually(
        lambda: [c["metadata"]["name"] for c in claims.list(cluster.namespace)] == ["data-db-0"]
    )
    await cluster.client.delete(STATEFUL_SET, "db", cluster.namespace)
    await eventually(lambda: not cluster.of(POD))
    assert len(claims.list(cluster.namespace)) == 1, "data outlives its set unless told otherwise"
