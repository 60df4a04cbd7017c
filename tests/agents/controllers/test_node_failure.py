"""A node dies, and comes back."""

from __future__ import annotations

import pytest

from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.gvk import (
    NODE,
    POD,
)
from kubraft.api.pods import node_of
from tests.agents.controllers.cluster import cluster_of
from tests.agents.controllers.hollow_node import HollowNode, running
from tests.agents.controllers.processes import ControlPlane, Manager
from tests.harness.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("controllers")]


async def test_pods_of_a_dead_node_come_up_elsewhere(plane: ControlPlane, manager: Manager) -> None:
    async with cluster_of(plane, node_count=1) as cluster:
        dead = f"dead-{cluster.namespace}"
        async with running(HollowNode(plane.api.client(), dead).run()):
            await eventually(lambda: cluster.get(NODE, dead, ""))
            cluster.nodes.append(dead)
            await cluster.deploy(replicas=4)
            await eventually(lambda: cluster.is_done(4))
            assert any(node_of(pod) == dead for pod in cluster.alive())
        cluster.nodes.remove(dead)
        await eventually(lambda: cluster.ready_status(dead) == "Unknown", timeout_s=20)
        declared = find_condition(conditions_of(cluster.get(NODE, dead, "") or {}), "Ready") or {}
        assert declared["reason"] == "NodeStatusUnknown"
        assert declared["message"] == "Kubelet stopped posting node status."
        await eventually(lambda: cluster.taint_effects(dead) == {"NoSchedule", "NoExecute"})
        await eventually(
            lambda: cluster.is_done(4) and all(node_of(p) != dead for p in cluster.alive()),
            timeout_s=20,
        )
        # What nobody confirms is removed in the end.
        await eventually(lambda: len(cluster.of(POD)) == 4, timeout_s=20)
        async with running(HollowNode(plane.api.client(), dead).run()):
            await eventually(lambda: cluster.ready_status(dead) == "True", timeout_s=20)
            await eventually(lambda: not cluster.taint_effects(dead))
        await cluster.client.delete(NODE, dead)
