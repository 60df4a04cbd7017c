from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.controllers.cron_job.schedule import latest_until, next_after
from kubraft.api.cron import parse_schedule

NEW_YORK = ZoneInfo("America/New_York")


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("* * * * *", "2026-03-01T12:00:30", "2026-03-01T12:01:00"),
        ("*/15 * * * *", "2026-03-01T12:45:00", "2026-03-01T13:00:00"),
        ("20-35/15 * * * *", "2026-03-01T12:35:00", "2026-03-01T13:20:00"),
        ("0 0 * * *", "2026-12-31T00:00:00", "2027-01-01T00:00:00"),
        ("@monthly", "2026-01-31T12:00:00", "2026-02-01T00:00:00"),
        ("0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 12 * * mon", "2026-03-01T12:00:00", "2026-03-02T12:00:00"),
        # Where both days are given, either will do.
        ("0 0 15 * fri", "2026-03-01T00:00:00", "2026-03-06T00:00:00"),
        ("@every 90s", "2026-03-01T12:00:00", "2026-03-01T12:01:30"),
    ],
)
def test_the_next_moment(schedule: str, after: str, expected: str) -> None:
    assert next_after(parse_schedule(schedule), _utc(after), UTC) == _utc(expected)


def test_a_day_that_never_comes() -> None:
    assert next_after(parse_schedule("0 0 30 2 *"), _utc("2026-01-01T00:00:00"), UTC) is None


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        pytest.param("0 9 * * *", "2026-03-01T12:00", "2026-03-01T14:00", id="in winter"),
        pytest.param("0 9 * * *", "2026-06-01T12:00", "2026-06-01T13:00", id="in summer"),
        # 2026-03-08 has no 2:30 there, and 2026-11-01 has 1:30 twice.
        pytest.param("30 2 * * *", "2026-03-08T00:00", "2026-03-09T06:30", id="left out"),
        pytest.param("30 1 * * *", "2026-11-01T00:00", "2026-11-01T05:30", id="the first"),
        pytest.param("30 1 * * *", "2026-11-01T05:30", "2026-11-01T06:30", id="and the second"),
    ],
)
def test_moments_of_a_zone(schedule: str, after: str, expected: str) -> None:
    assert next_after(parse_schedule(schedule), _utc(after), NEW_YORK) == _utc(expected)


@given(
    schedule=st.sampled_from(["*/7 * * * *", "5 */3 * * *", "0 0 * * 1", "@every 11m"]),
    start_m=st.integers(0, 480_000),
    length_m=st.integers(0, 600),
)
@settings(max_examples=60, deadline=None)
def test_the_latest_is_the_last_of_the_next_ones(
    schedule: str, start_m: int, length_m: int
) -> None:
    read = parse_schedule(schedule)
    since = _utc("2026-01-01T00:00:00") + timedelta(minutes=start_m)
    until = since + timedelta(minutes=length_m)
    moment, last = next_after(read, since, NEW_YORK), None
    while moment is not None and moment <= until:
        last, moment = moment, next_after(read, moment, NEW_YORK)
    assert latest_until(read, since, until, NEW_YORK) == last
