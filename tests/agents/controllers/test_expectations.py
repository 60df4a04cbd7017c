from __future__ import annotations

from agents.controllers.expectations import EXPECTATION_TTL_S, Expectations
from kubraft.api.object import ObjectKey

KEY = ObjectKey("default", "rs")


def test_a_key_waits_until_the_cache_shows_every_create() -> None:
    expectations = Expectations()
    assert expectations.satisfied(KEY, 0)
    expectations.expect_created(KEY, ["a", "b"], 0)
    expectations.observed(KEY, "a", "uid-a")
    assert not expectations.satisfied(KEY, 1)
    expectations.observed(KEY, "b", "uid-b")
    assert expectations.satisfied(KEY, 1)


def test_a_key_waits_until_the_cache_shows_every_delete() -> None:
    expectations = Expectations()
    expectations.expect_deleted(KEY, ["uid-a"], 0)
    assert not expectations.satisfied(KEY, 1)
    expectations.deleted(KEY, "uid-other")
    assert not expectations.satisfied(KEY, 1)
    expectations.deleted(KEY, "uid-a")
    assert expectations.satisfied(KEY, 1)


def test_an_event_that_never_comes_blocks_no_longer_than_the_limit() -> None:
    expectations = Expectations()
    expectations.expect_created(KEY, ["a"], 0)
    assert not expectations.satisfied(KEY, EXPECTATION_TTL_S)
    assert expectations.satisfied(KEY, EXPECTATION_TTL_S + 1)
    expectations.expect_created(KEY, ["b"], EXPECTATION_TTL_S + 1)
    expectations.observed(KEY, "b", "uid-b")
    assert expectations.satisfied(KEY, EXPECTATION_TTL_S + 2)


def test_a_create_without_an_answer_keeps_its_name_for_the_next_try() -> None:
    expectations = Expectations()
    expectations.expect_created(KEY, ["a", "b"], 0)
    expectations.in_doubt(KEY, "a")
    expectations.observed(KEY, "b", "uid-b")
    assert expectations.satisfied(KEY, 1)
    assert expectations.doubtful(KEY) == ["a"]
    expectations.observed(KEY, "a", "uid-a")  # it had happened after all
    assert expectations.doubtful(KEY) == []
