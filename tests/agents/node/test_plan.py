from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node.action import (
    Action,
    CreateSandbox,
    FinishDeletion,
    RemoveContainer,
    RemoveSandbox,
    StartContainer,
    StopContainer,
    StopSandbox,
)
from agents.node.plan import Facts, Unhealthy, plan, plan_removal
from agents.node.pod_view import PodView
from agents.node.restart_backoff import RestartBackoff
from kubraft.api.object import Object
from tests.agents.node.pods import NOW_S, life, pod, view

DEBUGGED: dict[str, Any] = {"ephemeralContainers": [{"name": "dbg", "image": "busybox"}]}
WAS_DEBUGGED = {"ephemeralContainerStatuses": [{"name": "dbg", "containerID": "process://x"}]}
DELETED: dict[str, Any] = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}


def facts(**more: Any) -> Facts:
    return Facts(backoff=RestartBackoff(), now_s=NOW_S, **more)


def shown(actions: list[Action]) -> list[str]:
    """Each action in a word or three, for tables."""
    words = []
    for action in actions:
        match action:
            case CreateSandbox(attempt):
                words.append(f"sandbox {attempt}")
            case StopSandbox(sandbox_id):
                words.append(f"stop-sandbox {sandbox_id}")
            case StartContainer(name, attempt):
                words.append(f"start {name} {attempt}")
            case StopContainer(container_id):
                words.append(f"stop {container_id}")
            case RemoveContainer(container_id):
                words.append(f"remove {container_id}")
            case RemoveSandbox(sandbox_id):
                words.append(f"remove-sandbox {sandbox_id}")
            case FinishDeletion():
                words.append("finish")
    return words


NOTHING = PodView()
GONE = (("s0", False),)


@pytest.mark.parametrize(
    ("wanted", "there", "steps"),
    [
        pytest.param(pod(), NOTHING, ["sandbox 0"], id="a new Pod gets a sandbox"),
        pytest.param(pod("a", "b"), view(), ["start a 0", "start b 0"], id="then its containers"),
        pytest.param(pod(), view(life("main", "running")), [], id="and that is all"),
        pytest.param(pod(), view(life("main", "created")), ["start main 1"], id="half-made"),
        pytest.param(pod(), view(life("main", "exit 0")), ["start main 1"], id="Always, after 0"),
        pytest.param(
            pod(restartPolicy="OnFailure"),
            view(life("main", "exit 0")),
            ["stop-sandbox s0"],
            id="OnFailure, after 0",
        ),
        pytest.param(
            pod(restartPolicy="OnFailure"),
            view(life("main", "exit 1")),
            ["start main 1"],
            id="OnFailure, after 1",
        ),
        pytest.param(
            pod(restartPolicy="Never"),
            view(life("main", "exit 1")),
            ["stop-sandbox s0"],
            id="Never, after 1",
        ),
        pytest.param(
            pod("a", "b", restartPolicy="Never"),
            view(life("a", "exit 1"), life("b", "running")),
            [],
            id="Never, the other still runs",
        ),
        pytest.param(
            pod("main", init=("i1", "i2")), view(), ["start i1 0"], id="the first init container"
        ),
        pytest.param(
            pod("main", init=("i1",), **DEBUGGED),
            view(life("i1", "running")),
            ["start dbg 0"],
            id="an ephemeral container waits for nobody",
        ),
        pytest.param(
            pod(**DEBUGGED),
            view(life("main", "running"), life("dbg", "exit 1")),
            [],
            id="and is not started again",
        ),
        pytest.param(
            pod(**DEBUGGED, status=WAS_DEBUGGED),
            view(life("main", "running")),
            [],
            id="even if the runtime has forgotten it",
        ),
        pytest.param(
            pod(**DEBUGGED, restartPolicy="Never"),
            view(life("main", "exit 0"), life("dbg", "running")),
            ["stop dbg0"],
            id="it does not keep a Pod that is done",
        ),
        pytest.param(
            pod("main", init=("i1", "i2")), view(life("i1", "running")), [], id="is waited for"
        ),
        pytest.param(
            pod("main", init=("i1", "i2")),
            view(life("i1", "exit 0")),
            ["start i2 0"],
            id="then the second",
        ),
        pytest.param(
            pod("main", init=("i1", "i2")),
            view(life("i1", "exit 0"), life("i2", "exit 0")),
            ["start main 0"],
            id="then the others",
        ),
        pytest.param(
            pod("main", init=("i1",)),
            view(life("i1", "exit 1")),
            ["start i1 1"],
            id="a failed init container is tried again",
        ),
        pytest.param(
            pod("main", init=("i1",), restartPolicy="Never"),
            view(life("i1", "exit 1")),
            ["stop-sandbox s0"],
            id="unless the policy is Never",
        ),
        pytest.param(
            pod("main", init=("i1",)),
            view(life("i1", "exit 0"), life("main", "exit 1")),
            ["start main 1"],
            id="init containers are not run again for a crash",
        ),
        pytest.param(
            pod("main", init=("i1",)),
            view(life("i1", "exit 0"), life("main", "exit 255"), sandboxes=GONE),
            ["sandbox 1"],
            id="a lost sandbox is made anew",
        ),
        pytest.param(
            pod("main", init=("i1",)),
            view(
                life("i1", "exit 0"),
                life("main", "exit 255"),
                sandboxes=(("s0", False), ("s1", True)),
            ),
            ["start i1 1"],
            id="and its init containers run again",
        ),
        pytest.param(
            pod(restartPolicy="Never"),
            view(life("main", "exit 255"), sandboxes=GONE),
            [],
            id="a lost sandbox whose work is over is not",
        ),
        pytest.param(
            pod("main", init=("side",)), view(), ["start side 0"], id="a sidecar starts first"
        ),
        pytest.param(
            pod("main", init=("side",)),
            view(life("side", "running")),
            [],
            id="the others wait until it has started up",
        ),
        pytest.param(
            pod("main", init=("side",), restartPolicy="Never"),
            view(life("side", "exit 1"), life("main", "running")),
            ["start side 1"],
            id="a sidecar is restarted whatever the Pod's policy",
        ),
        pytest.param(
            pod("main", init=("side",), restartPolicy="Never"),
            view(life("side", "running"), life("main", "exit 0")),
            ["stop side0"],
            id="a sidecar does not keep a Pod alive",
        ),
        pytest.param(
            pod(**DELETED), view(life("main", "running")), ["stop main0"], id="deletion stops"
        ),
        pytest.param(
            pod(**DELETED),
            view(life("main", "exit 0")),
            ["stop-sandbox s0"],
            id="then takes the sandbox away",
        ),
        pytest.param(
            pod(**DELETED),
            view(life("main", "exit 0"), sandboxes=GONE),
            ["finish"],
            id="then lets the object go",
        ),
        pytest.param(pod(**DELETED), NOTHING, ["finish"], id="deleted before it began"),
        pytest.param(
            pod(status={"phase": "Failed"}),
            view(life("main", "running")),
            ["stop main0"],
            id="an evicted Pod is stopped",
        ),
        pytest.param(
            pod(restartPolicy="Never", status={"containerStatuses": [
                {"name": "main", "state": {"terminated": {"exitCode": 0}}}
            ]}),
            NOTHING,
            [],
            id="work that is over stays over when the runtime forgets it",
        ),
    ],
)  # fmt: skip
def test_steps(wanted: Object, there: PodView, steps: list[str]) -> None:
    assert shown(plan(wanted, there, facts()).actions) == steps


def test_the_others_start_once_the_sidecar_has_started_up() -> None:
    there = view(life("side", "running"))
    result = plan(pod("main", init=("side",)), there, facts(started=frozenset({"side0"})))
    assert shown(result.actions) == ["start main 0"]


RULE = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}


@pytest.mark.parametrize(
    ("own", "code", "steps"),
    [
        pytest.param({"restartPolicy": "Never"}, 1, ["stop-sandbox s0"], id="never, in Always"),
        pytest.param({"restartPolicy": "OnFailure"}, 1, ["start main 1"], id="on failure"),
        pytest.param({"restartPolicy": "OnFailure"}, 0, ["stop-sandbox s0"], id="on success not"),
        pytest.param(
            {"restartPolicy": "Never", "restartPolicyRules": [RULE]},
            42,
            ["start main 1"],
            id="a rule names the code",
        ),
        pytest.param(
            {"restartPolicy": "Never", "restartPolicyRules": [RULE]},
            1,
            ["stop-sandbox s0"],
            id="no rule does",
        ),
    ],
)
def test_a_container_may_have_a_policy_of_its_own(
    own: dict[str, Any], code: int, steps: list[str]
) -> None:
    wanted = pod()
    wanted["spec"]["containers"][0] |= own
    assert shown(plan(wanted, view(life("main", f"exit {code}")), facts()).actions) == steps


def test_sidecars_get_their_signal_last_and_the_last_one_first() -> None:
    wanted = pod("a", "b", init=("side1", "side2"), **DELETED)
    there = view(*(life(name, "running") for name in ("side1", "side2", "a", "b")))
    stops = [a for a in plan(wanted, there, facts()).actions if isinstance(a, StopContainer)]
    after = {stop.name: set(stop.after) for stop in stops}
    assert after == {"a": set(), "b": set(), "side2": {"a0", "b0"}, "side1": {"a0", "b0", "side20"}}
    assert [stop.name for stop in stops][2:] == ["side2", "side1"]


def test_a_sidecar_that_ends_while_later_ones_start_holds_nobody_up() -> None:
    wanted = pod("main", init=("side", "i2"))
    there = view(life("side", "exit 1"), life("i2", "running"))
    assert shown(plan(wanted, there, facts()).actions) == ["start side 1"]
    there = view(life("side", "exit 1"), life("i2", "exit 0"))
    assert shown(plan(wanted, there, facts()).actions) == ["start side 1", "start main 0"]


def test_the_next_container_starts_when_the_hook_of_this_one_is_through() -> None:
    there = view(life("a", "running"))
    hooking = facts(hooking=frozenset({"a0"}))
    assert plan(pod("a", "b"), there, hooking).actions == []
    assert shown(plan(pod("a", "b"), there, facts()).actions) == ["start b 0"]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        pytest.param("Always", "Container main failed, will be restarted", id="and comes back"),
        pytest.param("Never", "Container main failed", id="for good"),
    ],
)
def test_what_a_killing_says(policy: str, message: str) -> None:
    sick = facts(unhealthy={"main0": Unhealthy("Container main failed", 7)})
    (stop,) = plan(pod(restartPolicy=policy), view(life("main", "running")), sick).actions
    assert stop == StopContainer("main0", "main", message, 7, restart=policy == "Always")


def test_a_crashing_container_waits_longer_each_time() -> None:
    backoff = RestartBackoff(10, 300)
    now_s, waits = NOW_S, []
    for attempt in range(8):
        there = view(life("main", "exit 1", attempt, finished_at_s=now_s))
        result = plan(pod(), there, Facts(backoff=backoff, now_s=now_s))
        waits.append(result.wake_after_s or 0)
        if result.waiting:
            assert result.waiting["main"].reason == "CrashLoopBackOff"
            assert result.actions == []
            now_s += waits[-1]
            result = plan(pod(), there, Facts(backoff=backoff, now_s=now_s))
        assert shown(result.actions)[0] == f"start main {attempt + 1}"
        failed_at_s = now_s - waits[-1]
        backoff.next("main", failed_at_s, now_s)
        now_s += 0.1
    assert waits == [0, *(pytest.approx(s) for s in (10, 20, 40, 80, 160, 300, 300))]


def test_restart_counts_go_on_where_the_runtime_has_forgotten() -> None:
    status = {"containerStatuses": [{"name": "main", "containerID": "x", "restartCount": 4}]}
    result = plan(pod(status=status), view(), facts())
    assert shown(result.actions) == ["start main 5"]


@pytest.mark.parametrize(
    "reason",
    [
        pytest.param({"unhealthy": {"main0": Unhealthy("probe")}}, id="a probe failed"),
        pytest.param({}, id="the image changed"),
    ],
)
def test_a_running_container_that_must_be_made_anew_is_stopped(reason: dict[str, Any]) -> None:
    wanted = pod()
    if not reason:
        wanted["spec"]["containers"][0]["image"] = "busybox:2"
    there = view(life("main", "running"))
    assert shown(plan(wanted, there, facts(**reason)).actions) == ["stop main0"]
    stopping = facts(stopping=frozenset({"main0"}), **reason)
    assert plan(wanted, there, stopping).actions == []


@pytest.mark.parametrize(
    ("policy", "why", "restart"),
    [
        pytest.param("OnFailure", Unhealthy("probe"), True, id="a probe failed"),
        pytest.param("OnFailure", Unhealthy("resize", exact=True), True, id="a resize"),
        pytest.param("OnFailure", Unhealthy("hook", crashed=True), False, id="its hook failed"),
        pytest.param("Never", Unhealthy("probe"), False, id="a probe failed, Never"),
    ],
)
def test_what_was_stopped_to_be_renewed_is_started_however_it_ended(
    policy: str, why: Unhealthy, restart: bool
) -> None:
    wanted = pod(restartPolicy=policy)
    sick = facts(unhealthy={"main0": why})
    (stop,) = plan(wanted, view(life("main", "running")), sick).actions
    assert isinstance(stop, StopContainer)
    assert stop.restart == restart
    renewed = facts(renewed=frozenset({"main0"}))
    ended = view(life("main", "exit 0"))
    assert shown(plan(wanted, ended, renewed).actions) == ["start main 1"]


def test_former_lives_are_kept_for_previous_logs_and_no_longer() -> None:
    there = view(*(life("main", "exit 1", n) for n in range(3)), life("main", "running", 3))
    assert shown(plan(pod(), there, facts()).actions) == ["remove main1", "remove main0"]


def test_what_the_api_does_not_know_is_stopped_and_removed() -> None:
    there = view(life("main", "running"))
    assert shown(plan_removal(there, facts()).actions) == ["stop main0"]
    assert plan_removal(there, facts(stopping=frozenset({"main0"}))).actions == []
    there = view(life("main", "exit 0"))
    assert shown(plan_removal(there, facts()).actions) == ["stop-sandbox s0"]
    there = view(life("main", "exit 0"), sandboxes=GONE)
    assert shown(plan_removal(there, facts()).actions) == ["remove main0", "remove-sandbox s0"]


STATES = st.sampled_from(["running", "exit 0", "exit 1", "created"])


@given(
    policy=st.sampled_from(["Always", "OnFailure", "Never"]),
    lives=st.lists(st.tuples(st.sampled_from(["a", "b", "i"]), STATES), max_size=6),
    ready=st.booleans(),
    deleted=st.booleans(),
)
def test_no_container_is_started_twice_nor_in_a_pod_that_ends(
    policy: str, lives: list[tuple[str, str]], ready: bool, deleted: bool
) -> None:
    attempts: dict[str, int] = {}
    found = []
    for name, state in lives:
        number = attempts.get(name, -1) + 1
        attempts[name] = number
        last = max(n for n, (other, _) in enumerate(lives) if other == name)
        current = lives[last] == (name, state) and sum(o == name for o, _ in lives) == number + 1
        found.append(life(name, state if current or state != "running" else "exit 1", number))
    wanted = pod("a", "b", init=("i",), restartPolicy=policy, **(DELETED if deleted else {}))
    there = view(*found, sandboxes=(("s0", ready),))
    actions = plan(wanted, there, facts()).actions
    started = [a.name for a in actions if isinstance(a, StartContainer)]
    assert len(started) == len(set(started))
    running = {c.name for c in there.running}
    assert not running & set(started)
    if deleted or not ready:
        assert not started
    stopped = {a.id for a in actions if isinstance(a, StopContainer)}
    removed = {a.id for a in actions if isinstance(a, RemoveContainer)}
    assert not removed & {c.id for c in there.running}
    if deleted:
        assert stopped == {c.id for c in there.running}
