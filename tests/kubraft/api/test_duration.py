"""Spans of time, as flags take them and as tables show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kubraft.api.duration import age, human_duration, parse_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"),
        (599, "9m59s"), (600, "10m"), (3600, "60m"), (10799, "179m"), (10800, "3h"),
        (11000, "3h3m"), (28800, "8h"), (172799, "47h"), (172800, "2d"), (176400, "2d1h"),
        (691200, "8d"), (63071999, "729d"), (63072000, "2y"), (71712000, "2y100d"),
        (252288000, "8y"),
    ],
)  # fmt: skip
def test_ages(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_an_age_is_counted_from_a_timestamp() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert age("2025-12-31T23:59:30Z", now) == "30s"
    assert age(None, now) == "<unknown>"
    assert age("yesterday", now) == "<unknown>"
    assert age("2026-01-01T00:01:00Z", now - timedelta(hours=1)) == "<invalid>"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400), ("250ms", 0.25)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "-5s", "5s!", "1h 5m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)
