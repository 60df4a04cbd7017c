from __future__ import annotations

import asyncio
import math

import pytest

from store import beat


@pytest.mark.parametrize(
    ("now_s", "beat_s"),
    [
        pytest.param(7.0, 7.5, id="on a beat"),
        pytest.param(7.2, 7.5, id="between two"),
        pytest.param(7.499, 8.0, id="woken a little early"),
        pytest.param(7.501, 8.0, id="woken a little late"),
    ],
)
async def test_all_who_wait_are_woken_at_the_same_moments(
    monkeypatch: pytest.MonkeyPatch, now_s: float, beat_s: float
) -> None:
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)

    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now_s)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await beat.next_beat(0.5)
    assert math.isclose(now_s + slept[0], beat_s)
