from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubraft.supervisor.child import HEALTHY_AFTER_S, RESTART_DELAY_S_MAX, Child, State


def test_a_crash_is_answered_with_a_restart_after_a_delay() -> None:
    child = Child("a").started(7, 100.0).exited("status 1", 101.0)
    assert (child.state, child.pid, child.exit) == (State.CRASHED, 0, "status 1")
    assert not child.is_due(101.0)
    assert child.is_due(101.25)
    assert child.started(8, 101.25).restarts == 1


def test_delays_double_up_to_a_bound_and_begin_anew_after_a_healthy_run() -> None:
    child, now_s, delays = Child("a"), 0.0, []
    for _ in range(9):
        child = child.started(1, now_s).exited("status 1", now_s)
        delays.append(child.restart_at_s - now_s)
        now_s = child.restart_at_s
    assert delays == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    child = child.started(1, now_s).exited("SIGKILL", now_s + HEALTHY_AFTER_S)
    assert child.restart_at_s == now_s + HEALTHY_AFTER_S + 0.25


@pytest.mark.parametrize("wanted", [State.KILLED, State.STOPPED])
def test_what_was_asked_to_end_stays_down(wanted: State) -> None:
    running = Child("a").started(7, 0.0).asked_to_end(wanted)
    assert running.is_alive
    ended = running.exited("SIGKILL", 1.0)
    assert ended.state is wanted
    assert not ended.is_due(1e9)
    assert ended.started(8, 2.0).restarts == 0


def test_a_crashed_one_that_is_killed_is_not_started_again() -> None:
    crashed = Child("a").started(7, 0.0).exited("status 1", 1.0)
    assert not crashed.asked_to_end(State.KILLED).is_due(1e9)


@given(st.lists(st.tuples(st.sampled_from(["exit", "kill", "stop", "start"]), st.floats(0, 60))))
def test_a_pid_is_there_exactly_while_it_runs(steps: list[tuple[str, float]]) -> None:
    child, now_s = Child("a"), 0.0
    for step, elapsed_s in steps:
        now_s += elapsed_s
        match step:
            case "exit" if child.is_alive:
                child = child.exited("status 1", now_s)
            case "start" if not child.is_alive:
                child = child.started(1, now_s)
            case "kill":
                child = child.asked_to_end(State.KILLED)
            case "stop":
                child = child.asked_to_end(State.STOPPED)
        assert (child.pid != 0) == child.is_alive
        if child.state is State.CRASHED:
            assert child.restart_at_s <= now_s + RESTART_DELAY_S_MAX
        else:
            assert not child.is_due(now_s + 1e6)
