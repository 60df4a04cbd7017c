"""Schedules of cron: what they mean, and which are refused in which words."""

from __future__ import annotations

import re

import pytest

from kubraft.api.cron import parse_schedule


@pytest.mark.parametrize(
    ("text", "minutes", "hours", "weekdays"),
    [
        pytest.param("@hourly", {0}, set(range(24)), set(range(7)), id="a name"),
        pytest.param("*/15 0 * * *", {0, 15, 30, 45}, {0}, set(range(7)), id="steps"),
        pytest.param(
            "5/20 9-17/4 * * mon-fri", {5, 25, 45}, {9, 13, 17}, {1, 2, 3, 4, 5}, id="all"
        ),
        pytest.param("1,2 3 ? * 0", {1, 2}, {3}, {0}, id="a list"),
    ],
)
def test_fields_are_sets(text: str, minutes: set[int], hours: set[int], weekdays: set[int]) -> None:
    schedule = parse_schedule(text)
    found = (set(schedule.minutes), set(schedule.hours), set(schedule.weekdays))
    assert found == (minutes, hours, weekdays)


def test_every_is_a_span() -> None:
    assert parse_schedule("@every 1h30m").every_s == 5400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty spec string"),
        ("@fortnightly", "unrecognized descriptor: @fortnightly"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        (
            "x * * * *",
            'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax',
        ),
    ],
)
def test_what_is_no_schedule_is_refused_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_schedule(text)
