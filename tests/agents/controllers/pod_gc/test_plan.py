from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agents.controllers.node_lifecycle.taint import UNREACHABLE, tainted
from agents.controllers.pod_gc.plan import Cause, Rules, failed, next_check_s, plan, telling_taints
from kubraft.api.object import Object
from tests.agents.controllers.node_objects import node
from tests.agents.controllers.objects import NOW, pod


def unreachable() -> Object:
    found = tainted(node("node-0", "Unknown"), evict=True, now=NOW - timedelta(seconds=60))
    assert found is not None
    return found


OUT = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("parts", "nodes", "cause"),
    [
        pytest.param({}, [node()], None, id="runs"),
        pytest.param({}, [], Cause.ORPHANED, id="its node is gone"),
        pytest.param({"node": "", "phase": "Pending"}, [], None, id="not bound yet"),
        pytest.param({"node": "", "terminating": True}, [], Cause.UNSCHEDULED, id="never bound"),
        pytest.param({"terminating": True}, [node()], None, id="its node ends it"),
        pytest.param({"terminating": True}, [unreachable()], Cause.UNREACHABLE, id="unreachable"),
        pytest.param({}, [unreachable()], None, id="unreachable, but not evicted"),
        pytest.param(
            {"terminating": True},
            [node(ready="False", taints=[OUT])],
            Cause.OUT_OF_SERVICE,
            id="out of service",
        ),
        pytest.param(
            {"terminating": True}, [node(taints=[OUT])], None, id="out of service, but ready"
        ),
    ],
)
def test_only_pods_that_nobody_else_ends(
    parts: dict[str, Any], nodes: list[Object], cause: Cause | None
) -> None:
    target = pod("a", **parts)
    found = plan([target], {n["metadata"]["name"]: n for n in nodes}, Rules(unreachable_s=0), NOW)
    assert found == ([(target, cause)] if cause else [])


def test_a_pod_of_an_unreachable_node_waits_its_time() -> None:
    dying = pod("a", terminating=True)  # its grace period ends now
    nodes = {"node-0": unreachable()}
    rules = Rules(unreachable_s=30)
    assert plan([dying], nodes, rules, NOW) == []
    assert next_check_s([dying], nodes, rules, NOW) == 30
    later = NOW + timedelta(seconds=30)
    assert plan([dying], nodes, rules, later) == [(dying, Cause.UNREACHABLE)]
    assert plan([dying], nodes, Rules(), NOW + timedelta(days=9)) == []
    assert next_check_s([dying], nodes, Rules(), NOW) is None


def test_the_oldest_of_too_many_ended_pods_go() -> None:
    ended = [pod(f"p{i}", phase="Succeeded", age=100 - i) for i in range(4)]
    found = plan(reversed(ended), {"node-0": node()}, Rules(terminated_threshold=3), NOW)
    assert found == [(ended[0], Cause.TERMINATED)]
    assert plan(ended, {"node-0": node()}, Rules(terminated_threshold=0), NOW) == []


def test_an_orphaned_pod_is_marked_failed_first() -> None:
    marked = failed(pod("a"), Cause.ORPHANED, NOW)
    assert marked is not None
    assert marked["status"]["phase"] == "Failed"
    assert marked["status"]["conditions"][-1]["reason"] == "DeletionByPodGC"
    assert failed(pod("b", phase="Succeeded"), Cause.ORPHANED, NOW) is None
    assert failed(pod("c", terminating=True), Cause.UNSCHEDULED, NOW) is None


def test_only_taints_that_end_pods_call_for_a_look() -> None:
    telling = [{"key": UNREACHABLE, "effect": "NoExecute"}, OUT]
    others = [{"key": "kubraft.io/hollow", "value": "true", "effect": "NoSchedule"}]
    assert telling_taints(node(taints=[*others, *telling])) == telling
    assert telling_taints(node(taints=others)) == []
