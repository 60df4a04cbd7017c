from __future__ import annotations

from store.leader_log import LeaderWatch, Notice
from store.raft.engine import EngineStatus, LogIndex, MemberID, Role, Term

A, B, C = MemberID(1), MemberID(2), MemberID(3)
NAMES: dict[int, str] = {A: "a", B: "b"}


def seen(term: int, leader: MemberID | None, *silent: MemberID) -> EngineStatus:
    return EngineStatus(
        member_id=A,
        role=Role.FOLLOWER,
        term=Term(term),
        leader=leader,
        commit_index=LogIndex(1),
        applied_index=LogIndex(1),
        last_index=LogIndex(1),
        voters=(A, B, C),
        silent_peers=silent,
    )


def told(*statuses: EngineStatus) -> list[Notice]:
    """What is told of statuses that are a second apart."""
    watch = LeaderWatch(patience_s=2.0)
    found = [watch.look(status, NAMES, now=float(now)) for now, status in enumerate(statuses)]
    return [notice for notice in found if notice is not None]


def test_each_leader_is_told_once_by_name() -> None:
    statuses = [seen(1, B), seen(1, B), seen(2, B), seen(2, B), seen(3, C)]
    assert told(*statuses) == [Notice(1, "b"), Notice(2, "b"), Notice(3, "3")]


def test_an_election_that_goes_well_is_no_news() -> None:
    assert told(seen(1, B), seen(2, None), seen(2, B)) == [Notice(1, "b"), Notice(2, "b")]


def test_who_is_missing_is_told_once_and_again_when_it_changes() -> None:
    alone = [seen(term, None, B, C) for term in (1, 2, 3, 4, 5)]
    assert told(*alone, seen(6, None, C), seen(7, None, C), seen(8, B)) == [
        Notice(3, cause="quorum lost, 1 of 3 members up, missing 3, b"),
        Notice(3, cause="nobody has won an election"),
        Notice(8, "b"),
    ]
