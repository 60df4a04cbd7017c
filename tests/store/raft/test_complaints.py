from __future__ import annotations

from store.raft.complaints import COMPLAINTS_MAX, WINDOW_S, Complaints


def test_a_cause_is_told_once_and_again_much_later() -> None:
    complaints = Complaints()
    told = [complaints.is_new("another cluster", now=now) for now in (0.0, 0.1, 5.0, WINDOW_S)]
    assert told == [True, False, False, True]
    assert complaints.is_new("another member", now=WINDOW_S)


def test_causes_that_are_ever_new_do_not_fill_the_log() -> None:
    complaints = Complaints()
    told = [complaints.is_new(f"frame of {number} bytes", now=1.0) for number in range(500)]
    assert sum(told) == COMPLAINTS_MAX
