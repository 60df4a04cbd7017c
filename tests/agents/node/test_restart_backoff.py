from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.node.restart_backoff import RestartBackoff


def test_the_first_restart_is_immediate_then_delays_double() -> None:
    backoff = RestartBackoff(10, 300)
    now, delays = 0.0, []
    for _round in range(8):
        delays.append(backoff.remaining_s("c", now, now))
        now += delays[-1]
        backoff.next("c", now - delays[-1], now)
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300]


def test_ten_minutes_up_begin_anew() -> None:
    backoff = RestartBackoff(10, 300)
    backoff.next("c", 0, 0)
    backoff.next("c", 20, 20)
    assert backoff.remaining_s("c", 30, 30) == 20
    assert backoff.remaining_s("c", 20 + 601, 20 + 601) == 0


@given(
    failures=st.lists(st.floats(0, 1e5), min_size=1, max_size=20),
    now=st.floats(-1e6, 1e6),
)
def test_no_wait_is_longer_than_the_longest_delay(failures: list[float], now: float) -> None:
    backoff = RestartBackoff(10, 300)
    for at in sorted(failures):
        backoff.next("c", at, at)
    assert 0 <= backoff.remaining_s("c", max(failures), now) <= 300
