from __future__ import annotations

from typing import Any

import pytest

from agents.controllers.replica_set.ranking import to_delete
from tests.agents.controllers.objects import NOW, pod


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"node": ""}, {"phase": "Pending", "ready": None}, id="without a node"),
        pytest.param({"phase": "Pending", "ready": None}, {"phase": "Unknown"}, id="pending"),
        pytest.param({"phase": "Unknown"}, {"ready": None}, id="unknown before running"),
        pytest.param({"ready": None}, {"ready": 1, "cost": -9}, id="not ready, whatever the cost"),
        pytest.param({"cost": -5}, {"cost": 3, "ready": 1}, id="cheaper"),
        pytest.param({"cost": "none"}, {"cost": 1}, id="a cost that is no number counts 0"),
        pytest.param({"ready": 5}, {"ready": 500, "restarts": 9}, id="ready for less time"),
        pytest.param({"ready": 99, "restarts": 3}, {"ready": 99}, id="restarted more often"),
        pytest.param({"ready": 3, "age": 4}, {"ready": 3, "age": 4000}, id="younger"),
    ],
)
def test_the_pod_whose_end_costs_least_goes_first(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    pods = [pod("b", **second), pod("z", **first)]
    assert to_delete(pods, 1, related=[], now=NOW) == [pods[1]]


def test_pods_on_the_fullest_node_go_first() -> None:
    pods = [pod("a", node="node-0"), pod("b", node="node-1"), pod("c", node="node-1")]
    gone = to_delete(pods, 1, related=pods, now=NOW)
    assert gone[0]["spec"]["nodeName"] == "node-1"


def test_ages_within_a_power_of_two_are_alike() -> None:
    pods = [pod("a", ready=70, age=80), pod("b", ready=90, age=100)]
    alike = to_delete(pods, 1, related=[], now=NOW)
    assert alike == [pods[0]]  # by uid, although both orders of age speak against none
