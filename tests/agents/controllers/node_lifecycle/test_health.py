from __future__ import annotations

from agents.controllers.node_lifecycle.health import lost, not_ready, readiness
from kubraft.api.conditions import conditions_of, find_condition
from tests.agents.controllers.node_objects import node
from tests.agents.controllers.objects import NOW, at, pod


def test_a_silent_node_is_unknown_in_all_that_only_it_can_know() -> None:
    silent = node(conditions={"MemoryPressure": "False", "NetworkUnavailable": "False"})
    declared = lost(silent, NOW)
    assert declared is not None
    ready = find_condition(conditions_of(declared), "Ready")
    assert ready == {
        "type": "Ready",
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
        "lastHeartbeatTime": at(-5),
        "lastTransitionTime": at(0),
    }
    statuses = {c["type"]: c["status"] for c in conditions_of(declared)}
    assert statuses == {
        "MemoryPressure": "Unknown",
        "NetworkUnavailable": "False",
        "Ready": "Unknown",
        "DiskPressure": "Unknown",
        "PIDPressure": "Unknown",
    }
    never = find_condition(conditions_of(declared), "DiskPressure") or {}
    assert never["reason"] == "NodeStatusNeverUpdated"
    assert lost(declared, NOW) is None
    assert readiness(silent) == "True"


def test_pods_of_a_silent_node_are_not_ready() -> None:
    changed = not_ready(pod("a", ready=60), NOW)
    assert changed is not None
    assert conditions_of(changed) == [
        {"type": "Ready", "status": "False", "lastTransitionTime": at(0)}
    ]
    assert not_ready(changed, NOW) is None
    assert not_ready(pod("b", ready=None), NOW) is None
