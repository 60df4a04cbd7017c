from datetime import UTC, datetime, timedelta
from random import Random

from kubraft.api.backoff import Backoff, exponential_s
from kubraft.api.conditions import find_condition, with_condition, without_condition

NOW = datetime(2026, 11, 21, 7, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def test_transition_time_moves_only_with_the_status() -> None:
    first = with_condition(None, {"type": "Ready", "status": "True", "reason": "A"}, NOW)
    same = with_condition(first, {"type": "Ready", "status": "True", "reason": "B"}, LATER)
    changed = with_condition(same, {"type": "Ready", "status": "False"}, LATER)
    times = [find_condition(c, "Ready") or {} for c in (first, same, changed)]
    assert [c["lastTransitionTime"] for c in times] == [
        "2026-11-21T07:00:00Z",
        "2026-11-21T07:00:00Z",
        "2026-11-21T07:01:00Z",
    ]
    assert times[1]["reason"] == "B"


def test_other_conditions_keep_their_place() -> None:
    conditions = [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]
    result = with_condition(conditions, {"type": "A", "status": "False"}, NOW)
    assert [c["type"] for c in result] == ["A", "B"]
    assert conditions[0]["status"] == "True"
    assert without_condition(result, "A") == [conditions[1]]


def test_backoff_doubles_up_to_its_bound_and_starts_again() -> None:
    backoff = Backoff(1, 5, rng=Random(0))
    assert [backoff.next_s() for _ in range(4)] == [1, 2, 4, 5]
    backoff.reset()
    assert backoff.next_s() == 1
    jittered = Backoff(1, 5, jitter=0.5, rng=Random(0))
    assert 1 <= jittered.next_s() <= 1.5
    assert exponential_s(10_000, 1, 300) == 300
