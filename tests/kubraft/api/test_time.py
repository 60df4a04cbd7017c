import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubraft.api.time import (
    ManualClock,
    SystemClock,
    format_micro_time,
    format_time,
    parse_time,
)

moments = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC)
)


@given(moments)
def test_micro_times_round_trip(moment: datetime) -> None:
    assert parse_time(format_micro_time(moment)) == moment
    assert parse_time(format_time(moment)) == moment.replace(microsecond=0)


@pytest.mark.parametrize("text", ["", "2026-11-21", "2026-11-21T10:00:00", "yesterday", "12345"])
def test_what_is_not_rfc3339_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an RFC 3339 time"):
        parse_time(text)


def test_other_zones_are_turned_into_utc() -> None:
    assert format_time(parse_time("2026-11-21T10:00:00+02:00")) == "2026-11-21T08:00:00Z"


async def test_manual_clock_wakes_sleepers_in_order() -> None:
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, delay_s: float) -> None:
        await clock.sleep(delay_s)
        woken.append((name, clock.monotonic_s()))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("late", 3))
        group.create_task(sleeper("early", 1))
        await clock.advance(2)
        assert woken == [("early", 1.0)]
        await clock.advance(1)
    assert woken == [("early", 1.0), ("late", 3.0)]


def test_the_wall_clock_may_jump_alone() -> None:
    clock = ManualClock()
    before = clock.now()
    clock.jump_wall(-3600)
    assert clock.now() == before - timedelta(hours=1)
    assert clock.monotonic_s() == 0.0


async def test_system_clock_moves() -> None:
    clock = SystemClock()
    before = clock.monotonic_s()
    await clock.sleep(0.001)
    assert clock.monotonic_s() > before
    assert clock.now().tzinfo is UTC
