from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.node.plan import Waiting
from agents.node.pod_view import PodView
from agents.node.status import Observed, pod_status
from kubraft.api.conditions import find_condition
from kubraft.api.object import Object
from tests.agents.node.pods import life, pod, view

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DELETED: dict[str, Any] = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}


def status(wanted: Object, there: PodView, **more: Any) -> dict[str, Any]:
    return pod_status(wanted, Observed(there, "127.0.0.1", **more), NOW)


def test_an_ephemeral_container_shows_and_counts_for_nothing() -> None:
    wanted = pod(ephemeralContainers=[{"name": "dbg", "image": "busybox"}])
    before = status(wanted, view(life("main", "running")))
    assert before["ephemeralContainerStatuses"][0]["state"]["waiting"]
    found = status(wanted, view(life("main", "running"), life("dbg", "exit 1")))
    shown = found["ephemeralContainerStatuses"][0]
    assert (shown["state"]["terminated"]["exitCode"], shown["ready"]) == (1, False)
    assert found["phase"] == "Running"
    ready = find_condition(found["conditions"], "Ready")
    assert ready is not None
    assert ready["status"] == "True"


def own(policy: str) -> Object:
    """A Pod that restarts, but for its container."""
    wanted = pod()
    wanted["spec"]["containers"][0]["restartPolicy"] = policy
    return wanted


def test_a_container_whose_hook_runs_is_still_being_made() -> None:
    found = status(pod(), view(life("main", "running")), hooking=frozenset({"main0"}))
    (shown,) = found["containerStatuses"]
    assert shown["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert (shown["ready"], shown["started"], found["phase"]) == (False, False, "Pending")


@pytest.mark.parametrize(
    ("wanted", "there", "phase"),
    [
        pytest.param(pod(), PodView(), "Pending", id="nothing yet"),
        pytest.param(own("Never"), view(life("main", "exit 1")), "Failed", id="own policy Never"),
        pytest.param(
            own("OnFailure"), view(life("main", "exit 0")), "Succeeded", id="own policy OnFailure"
        ),
        pytest.param(
            pod("main", init=("side",)),
            view(life("side", "exit 1"), life("main", "running")),
            "Running",
            id="a sidecar down",
        ),
        pytest.param(
            pod("main", init=("i1",)), view(life("i1", "exit 1")), "Pending", id="init tries again"
        ),
        pytest.param(pod(), view(life("main", "running")), "Running", id="running"),
        pytest.param(pod("a", "b"), view(life("a", "running")), "Pending", id="one of two"),
        pytest.param(pod(), view(life("main", "exit 1")), "Running", id="crashed, Always"),
        pytest.param(
            pod(restartPolicy="Never"), view(life("main", "exit 0")), "Succeeded", id="done"
        ),
        pytest.param(
            pod(restartPolicy="Never"), view(life("main", "exit 1")), "Failed", id="failed"
        ),
        pytest.param(
            pod(restartPolicy="OnFailure"),
            view(life("main", "exit 1")),
            "Running",
            id="to be tried again",
        ),
        pytest.param(
            pod("a", "b", restartPolicy="Never"),
            view(life("a", "exit 1"), life("b", "running")),
            "Running",
            id="one failed, one runs",
        ),
        pytest.param(
            pod("main", init=("i",)), view(life("i", "exit 1")), "Pending", id="init failing"
        ),
        pytest.param(
            pod("main", init=("i",), restartPolicy="Never"),
            view(life("i", "exit 1")),
            "Failed",
            id="init failed for good",
        ),
        pytest.param(pod(**DELETED), view(life("main", "exit 0")), "Succeeded", id="stopped well"),
        pytest.param(pod(**DELETED), view(life("main", "exit 137")), "Failed", id="killed"),
        pytest.param(
            pod(status={"phase": "Failed"}), view(life("main", "running")), "Failed", id="final"
        ),
    ],
)
def test_phase(wanted: Object, there: PodView, phase: str) -> None:
    assert status(wanted, there)["phase"] == phase


def test_a_ready_pod_has_all_conditions() -> None:
    found = status(pod(), view(life("main", "running")))
    truth = {c["type"]: c["status"] for c in found["conditions"]}
    names = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    assert truth == dict.fromkeys(names, "True")
    assert (found["podIP"], found["hostIP"]) == ("127.64.0.2", "127.0.0.1")


def test_unready_containers_are_named() -> None:
    there = view(life("a", "running"), life("b", "running"))
    found = status(pod("a", "b"), there, ready=lambda i: i == "a0")
    ready = find_condition(found["conditions"], "Ready")
    assert ready is not None
    assert ready["reason"] == "ContainersNotReady"
    assert ready["message"] == "containers with unready status: [b]"


def test_readiness_gates_hold_ready_back_and_others_conditions_stay() -> None:
    theirs = {"type": "example.com/gate", "status": "False", "lastTransitionTime": "x"}
    wanted = pod(
        readinessGates=[{"conditionType": "example.com/gate"}], status={"conditions": [theirs]}
    )
    found = status(wanted, view(life("main", "running")))
    assert theirs in found["conditions"]
    ready = find_condition(found["conditions"], "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("False", "ReadinessGatesNotReady")


def test_a_backed_off_container_shows_why_it_ended_in_its_last_state() -> None:
    there = view(life("main", "exit 3"))
    waiting = {"main": Waiting("CrashLoopBackOff", "back-off 10s")}
    (container,) = status(pod(), there, waiting=waiting)["containerStatuses"]
    assert container["state"] == {
        "waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
    }
    assert container["lastState"]["terminated"]["exitCode"] == 3


def test_restart_count_and_last_state_follow_the_lives() -> None:
    there = view(life("main", "exit 3", 1), life("main", "running", 2))
    (container,) = status(pod(), there)["containerStatuses"]
    assert container["restartCount"] == 2
    assert container["lastState"]["terminated"]["exitCode"] == 3
    assert container["containerID"] == "process://main2"


def test_who_runs_and_how_it_is_stopped_is_said() -> None:
    there = view(life("main", "running", stop_signal="SIGUSR1", user=(1000, 3000, (3000, 4000))))
    (container,) = status(pod(), there)["containerStatuses"]
    assert container["stopSignal"] == "SIGUSR1"
    linux = {"uid": 1000, "gid": 3000, "supplementalGroups": [3000, 4000]}
    assert container["user"] == {"linux": linux}


def test_a_second_look_changes_nothing() -> None:
    wanted = pod()
    wanted["status"] = status(wanted, view(life("main", "running")))
    later = Observed(view(life("main", "running")), "127.0.0.1")
    assert pod_status(wanted, later, NOW + timedelta(hours=1)) == wanted["status"]


def test_a_rejected_pod_says_why() -> None:
    found = status(pod(), PodView(), ended=Waiting("OutOfcpu", "Pod was rejected"))
    assert (found["phase"], found["reason"]) == ("Failed", "OutOfcpu")
    assert found["message"] == "Pod was rejected"
    assert "containerStatuses" not in found
    assert status(pod(status=found), PodView()) == found  # another agent leaves it at that


def test_containers_that_wait_for_init_say_so() -> None:
    found = status(pod("main", init=("i",)), view(life("i", "running")))
    assert found["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    initialized = find_condition(found["conditions"], "Initialized")
    assert initialized is not None
    assert initialized["message"] == "containers with incomplete status: [i]"
