from dataclasses import replace

import pytest

from agents.scheduler.framework import Change
from agents.scheduler.node_info import empty_node
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.queue import UNSCHEDULABLE_S_MAX, Part, SchedulingQueue
from tests.agents.scheduler.world import PROFILE, info, node, taint

FIT = frozenset({"NodeResourcesFit"})


def queue_with(*pods: PodInfo) -> SchedulingQueue:
    queue = SchedulingQueue([PROFILE])
    for index, each in enumerate(pods):
        queue.put(each, float(index))
    return queue


def popped(queue: SchedulingQueue, now_s: float) -> str:
    found = queue.pop(now_s)
    return found.key.name if found else ""


def test_higher_priority_first_then_first_come() -> None:
    queue = queue_with(info("a"), info("b"), info("vip", priority=1000))
    assert [popped(queue, 5) for _ in range(4)] == ["vip", "a", "b", ""]


def test_a_rejected_pod_waits_for_a_change_that_may_help() -> None:
    wanted = info("p", cpu="2")
    queue = queue_with(wanted)
    assert popped(queue, 0) == "p"
    queue.reject(wanted, FIT, 0)
    assert queue.part_of(wanted.key) is Part.UNSCHEDULABLE
    queue.changed(Change.NODE_TAINTS, empty_node("n", node("n")), 5)
    queue.changed(Change.NODE_ADDED, empty_node("n", node("n", cpu="1")), 5)
    assert queue.part_of(wanted.key) is Part.UNSCHEDULABLE  # neither helps
    queue.changed(Change.NODE_ADDED, empty_node("n", node("n", cpu="2")), 5)
    assert popped(queue, 5) == "p"


def test_a_change_soon_after_a_rejection_waits_for_the_back_off() -> None:
    wanted = info("p", cpu="2")
    queue = queue_with(wanted)
    delays = []
    now_s = 0.0
    for _ in range(6):
        assert popped(queue, now_s) == "p"
        queue.reject(wanted, FIT, now_s)
        queue.changed(Change.NODE_ADDED, empty_node("n", node("n")), now_s)
        assert queue.part_of(wanted.key) is Part.BACKOFF
        due_s = queue.next_s()
        assert due_s is not None
        delays.append(due_s - now_s)
        assert popped(queue, due_s - 0.01) == ""
        now_s = due_s
    assert delays == [1, 2, 4, 8, 10, 10]


def test_after_long_enough_it_is_tried_anyway() -> None:
    wanted = info("p")
    queue = queue_with(wanted)
    popped(queue, 0)
    queue.reject(wanted, FIT, 1)
    assert queue.next_s() == 1 + UNSCHEDULABLE_S_MAX
    assert popped(queue, UNSCHEDULABLE_S_MAX) == ""
    assert popped(queue, 1 + UNSCHEDULABLE_S_MAX) == "p"


def test_without_any_node_the_first_one_wakes_all() -> None:
    wanted = info("p", tolerations=[])
    queue = queue_with(wanted)
    popped(queue, 0)
    queue.reject(wanted, frozenset(), 0)
    queue.changed(Change.NODE_ADDED, empty_node("n", node("n", taints=[taint("x")])), 10)
    assert popped(queue, 10) == "p"


@pytest.mark.parametrize(
    ("rejected_by", "change", "helped"),
    [
        pytest.param("TaintToleration", Change.NODE_TAINTS, True, id="taint removed"),
        pytest.param("TaintToleration", Change.POD_GONE, False, id="a Pod left: no help"),
        pytest.param("NodeAffinity", Change.NODE_LABELS, True, id="labels changed"),
        pytest.param("NodePorts", Change.POD_GONE, True, id="port free again"),
        pytest.param("NodeUnschedulable", Change.NODE_TAINTS, True, id="uncordoned"),
        pytest.param("PodTopologySpread", Change.POD_PLACED, True, id="another domain grew"),
        pytest.param("NodeResourcesFit", Change.POD_PLACED, False, id="a Pod came: no help"),
    ],
)
def test_each_plugin_says_what_may_help(rejected_by: str, change: Change, helped: bool) -> None:
    wanted = info("p")
    queue = queue_with(wanted)
    popped(queue, 0)
    queue.reject(wanted, frozenset({rejected_by}), 0)
    queue.changed(change, empty_node("n", node("n")), 60)
    assert (popped(queue, 60) == "p") is helped


def test_a_new_version_counts_and_a_changed_request_is_tried() -> None:
    queue = queue_with(info("p", cpu="8"))
    popped(queue, 0)
    queue.reject(info("p", cpu="8"), FIT, 0)
    queue.put(info("p", cpu="8"), 50)
    assert queue.part_of(info("p").key) is Part.UNSCHEDULABLE
    queue.put(info("p", cpu="1"), 60)
    found = queue.pop(60)
    assert found is not None
    assert found.requests == {"cpu": 1000}


def test_gated_pods_wait_until_their_gates_are_gone() -> None:
    queue = queue_with(info("p", schedulingGates=[{"name": "x"}]))
    assert popped(queue, 1000) == ""
    assert queue.counts()[Part.GATED] == 1
    queue.put(info("p"), 1001)
    assert popped(queue, 1001) == "p"


def test_a_removed_pod_does_not_come_back() -> None:
    wanted = info("p")
    queue = queue_with(wanted)
    popped(queue, 0)
    queue.remove(wanted.key)
    queue.retry(wanted, 0)
    queue.reject(wanted, FIT, 0)
    assert popped(queue, 1000) == ""
    assert len(queue) == 0


def test_a_failed_binding_is_tried_again_after_its_back_off() -> None:
    wanted = info("p")
    queue = queue_with(wanted)
    popped(queue, 0)
    queue.retry(wanted, 0)
    assert popped(queue, 0.5) == ""
    assert popped(queue, 1) == "p"


def test_a_pod_that_was_made_anew_keeps_to_its_own_back_off() -> None:
    old, new = info("p"), replace(info("p"), uid="another")
    queue = queue_with(old)
    popped(queue, 0)
    queue.retry(old, 0)  # due at 1
    queue.put(new, 0.5)
    assert popped(queue, 0.5) == "p"
    queue.retry(new, 0.5)  # due at 1.5
    assert popped(queue, 1.2) == ""
    assert popped(queue, 1.5) == "p"
