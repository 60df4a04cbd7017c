"""DaemonSets against the real API server on a real etcd."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.gvk import CONTROLLER_REVISION, DAEMON_SET, NODE, POD
from tests.agents.controllers.cluster import Cluster, cluster_of
from tests.agents.controllers.processes import ControlPlane, Manager
from tests.harness.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("controllers")]


def _status(cluster: Cluster) -> dict[str, Any]:
    return (cluster.get(DAEMON_SET, "agent") or {}).get("status") or {}


def _is_done(cluster: Cluster, count: int) -> bool:
    found, status = cluster.get(DAEMON_SET, "agent") or {"metadata": {}}, _status(cluster)
    names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    counts = [status.get(name, 0) for name in names]
    seen = status.get("observedGeneration") == found["metadata"].get("generation")
    return counts == [count] * 3 and seen


async def test_a_daemon_on_each_node_and_its_update(plane: ControlPlane, manager: Manager) -> None:
    async with cluster_of(plane, 2) as cluster:
        labels = {"app": "agent"}
        await cluster.client.create(
            {
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "metadata": {"name": "agent", "namespace": cluster.namespace},
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {
                            "nodeSelector": {"run": "agents"},
                            "containers": [{"name": "main", "image": "agent:1"}],
                        },
                    },
                },
            }
        )
        for name in cluster.nodes:
            merge = {"metadata": {"labels": {"run": "agents"}}}
            await cluster.client.patch(NODE, name, merge)
        await eventually(lambda: _is_done(cluster, 2))
        assert sorted(pod["spec"]["nodeName"] for pod in cluster.of(POD)) == cluster.nodes
        containers = [{"name": "main", "image": "agent:2"}]
        change = {"spec": {"template": {"spec": {"containers": containers}}}}
        await cluster.client.patch(DAEMON_SET, "agent", change, cluster.namespace)
        await eventually(lambda: cluster.images() == ["agent:2"] * 2 and _is_done(cluster, 2))
        assert sorted(r["revision"] for r in cluster.of(CONTROLLER_REVISION)) == [1, 2]
        away = {"metadata": {"labels": {"run": None}}}
        await cluster.client.patch(NODE, cluster.nodes[0], away)
        await eventually(lambda: _is_done(cluster, 1) and len(cluster.of(POD)) == 1)
        await cluster.client.delete(DAEMON_SET, "agent", cluster.namespace)
        await eventually(lambda: not cluster.of(POD) and not cluster.of(CONTROLLER_REVISION))
