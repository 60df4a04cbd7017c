from __future__ import annotations

from agents.controllers.node_lifecycle.health import lost
from agents.controllers.node_lifecycle.heartbeat import Heartbeats
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
