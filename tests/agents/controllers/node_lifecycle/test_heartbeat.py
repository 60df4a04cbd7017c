from __future__ import annotations

import pytest

from agents.controllers.node_lifecycle.health import lost
from agents.controllers.node_lifecycle.heartbeat import PATIENCE_S_MAX, Heartbeats, patience_s
from tests.agents.controllers.node_objects import lease, node
from tests.agents.controllers.objects import NOW


def test_silence_counts_from_the_last_change_by_our_own_clock() -> None:
    beats = Heartbeats()
    assert beats.observe(node(), lease("node-0", "a"), 100) == 0
    assert beats.observe(node(), lease("node-0", "a"), 107) == 7
    assert beats.observe(node(), lease("node-0", "b"), 108) == 0  # renewed
    assert beats.observe(node(beat="later"), lease("node-0", "b"), 111) == 0  # status written
    assert beats.observe(node(beat="later"), lease("node-0", "b"), 115) == 4


def test_our_own_verdict_is_no_sign_of_life() -> None:
    beats = Heartbeats()
    silent = node()
    beats.observe(silent, None, 0)
    declared = lost(silent, NOW)
    assert declared is not None
    assert beats.observe(declared, None, 10) == 10


def test_a_node_that_was_made_anew_starts_anew() -> None:
    beats = Heartbeats()
    beats.observe(node(), None, 0)
    again = node()
    again["metadata"]["uid"] = "another"
    assert beats.observe(again, None, 50) == 0


def test_after_a_deaf_time_everybody_gets_a_new_start() -> None:
    beats = Heartbeats()
    beats.observe(node("node-0"), None, 0)
    beats.observe(node("node-1"), None, 0)
    beats.grant_all(60)
    assert beats.observe(node("node-0"), None, 61) == 1
    beats.keep_only({"node-0"})
    assert beats.observe(node("node-1"), None, 62) == 0


@pytest.mark.parametrize(
    ("duration_s", "grace_s", "patience"),
    [
        pytest.param(4, 6.0, 6.0, id="the flag, where the Lease is shorter"),
        pytest.param(40, 50.0, 50.0, id="upstream's defaults agree"),
        pytest.param(40, 6.0, 50.0, id="as a Lease needs that is renewed every ten seconds"),
        pytest.param(10**9, 6.0, PATIENCE_S_MAX, id="a node that says it will live for ever"),
        pytest.param(None, 6.0, 6.0, id="a Lease that does not say"),
    ],
)
def test_a_node_may_be_silent_as_long_as_its_lease_makes_likely(
    duration_s: int | None, grace_s: float, patience: float
) -> None:
    found = lease("node-0", "a")
    found["spec"]["leaseDurationSeconds"] = duration_s
    assert patience_s(found, grace_s) == patience
    assert patience_s(None, grace_s) == grace_s


def test_silence_is_known_without_another_look_at_the_node() -> None:
    beats = Heartbeats()
    beats.observe(node("node-0"), None, 0)
    assert beats.silence_s("node-0", 7) == 7
    assert beats.silence_s("never seen", 7) == 0
