"""What the informers show becomes the cluster's picture and the queue."""

import pytest

from agents.scheduler.cluster import Cluster
from agents.scheduler.intake import Intake
from agents.scheduler.queue import Part, SchedulingQueue
from kubraft.api.object import Object, key_of
from kubraft.api.time import ManualClock
from tests.agents.scheduler.world import PROFILE, info, node, pod, taint


class Desk:
    def __init__(self) -> None:
        self.cluster = Cluster()
        self.queue = SchedulingQueue([PROFILE])
        self.clock = ManualClock()
        self.woken = 0
        self.intake = Intake(self.cluster, self.queue, self.clock, self.wake)

    def wake(self) -> None:
        self.woken += 1

    def rejected(self, wanted: Object, by: str) -> None:
        """Have `wanted` wait after a rejection."""
        self.intake.pod(None, wanted)
        found = self.queue.pop(0)
        assert found
        self.queue.reject(found, frozenset({by}), 0)

    def part(self, wanted: Object) -> Part | None:
        return self.queue.part_of(key_of(wanted))


def test_heartbeats_change_nothing() -> None:
    desk = Desk()
    old = node("a")
    desk.intake.node(None, old)
    before, woken = desk.cluster.snapshot(), desk.woken
    beat = {**old, "status": {**old["status"], "conditions": [{"type": "Ready"}]}}
    desk.intake.node(old, beat)
    assert desk.cluster.snapshot() is before
    assert desk.woken == woken


@pytest.mark.parametrize(
    ("changed", "rejected_by", "helped"),
    [
        pytest.param(node("a"), "TaintToleration", True, id="taint gone"),
        pytest.param(
            node("a", cpu="8", taints=[taint("x")]), "NodeResourcesFit", True, id="more room"
        ),
        pytest.param(
            node("a", labels={"b": "c"}, taints=[taint("x")]),
            "TaintToleration",
            False,
            id="another label does not help",
        ),
    ],
)
def test_changes_of_nodes_wake_whom_they_may_help(
    changed: Object, rejected_by: str, helped: bool
) -> None:
    desk = Desk()
    old = node("a", taints=[taint("x")])
    desk.intake.node(None, old)
    wanted = pod("p", cpu="5" if rejected_by == "NodeResourcesFit" else "")
    desk.rejected(wanted, rejected_by)
    desk.intake.node(old, changed)
    assert (desk.part(wanted) is not Part.UNSCHEDULABLE) is helped


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(None, id="deleted"),
        pytest.param({"status": {"phase": "Failed"}}, id="failed"),
        pytest.param({"status": {"phase": "Succeeded"}}, id="succeeded"),
    ],
)
def test_a_pod_that_ends_frees_what_it_took(end: Object | None) -> None:
    desk = Desk()
    desk.intake.node(None, node("a", cpu="1"))
    running = pod("r", cpu="1", on="a")
    desk.intake.pod(None, running)
    wanted = pod("p", cpu="1")
    desk.rejected(wanted, "NodeResourcesFit")
    desk.intake.pod(running, {**running, **end} if end else None)
    assert desk.part(wanted) in (Part.ACTIVE, Part.BACKOFF)
    assert desk.cluster.snapshot().nodes["a"].free("cpu") == 1000


def test_a_pod_that_is_deleted_while_it_waits_is_dropped() -> None:
    desk = Desk()
    wanted = pod("p")
    desk.intake.pod(None, wanted)
    going = {
        **wanted,
        "metadata": {**wanted["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"},
    }
    desk.intake.pod(wanted, going)
    assert desk.part(wanted) is None


def test_news_of_an_assumed_pod_do_not_queue_it_again() -> None:
    desk = Desk()
    desk.intake.node(None, node("a"))
    wanted = pod("p")
    desk.intake.pod(None, wanted)
    assert desk.queue.pop(0)
    desk.cluster.assume(info("p"), "a")
    desk.intake.pod(wanted, {**wanted, "status": {"phase": "Pending"}})
    assert desk.part(wanted) is Part.POPPED
    assert desk.queue.pop(100) is None


def test_a_pod_bound_by_somebody_else_leaves_the_queue_and_counts() -> None:
    desk = Desk()
    desk.intake.node(None, node("a", cpu="2"))
    wanted = pod("p", cpu="1")
    desk.intake.pod(None, wanted)
    desk.intake.pod(wanted, pod("p", cpu="1", on="a"))
    assert desk.part(wanted) is None
    assert desk.cluster.snapshot().nodes["a"].free("cpu") == 1000
