"""One test for each defect of the stock library that docs/adr/0001-pysyncobj-engine.md lists.

The names carry the number of that list.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from store.raft import messages as m
from store.raft.codec import encode_voters
from store.raft.engine import UnknownOutcomeError
from store.raft.hardened import CANDIDATE, FOLLOWER, LEADER
from store.raft.log import Base, HardState, LogImage, first_image
from store.raft.membership import REMOVED, as_learner
from store.raft.messages import Entry
from store.raft.packing import MEMBERSHIP, NO_OP
from tests.sim.disk import State
from tests.store.raft.bench import (
    TIMING,
    CoreBench,
    DriverBench,
    entries,
    entry,
    urls,
)


def test_01_repeated_append_that_matches_truncates_nothing() -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(2, term=1, prev=(1, 0), new=entries(2, 10, 1))
    bench.append(2, term=1, prev=(1, 0), new=entries(2, 2, 1))
    assert bench.log.last_index == 10
    ack = bench.last(m.Ack)
    assert ack.next_index == 3  # what this append showed, not what the log holds


def test_01_conflict_truncates_from_the_conflict_on() -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(2, term=1, prev=(1, 0), new=entries(2, 6, 1))
    bench.append(3, term=2, prev=(1, 0), new=(*entries(2, 3, 1), *entries(4, 5, 2)))
    assert bench.terms == [1, 1, 2, 2]


def test_01_empty_append_keeps_a_longer_tail_and_does_not_commit_it() -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(2, term=1, prev=(1, 0), new=entries(2, 6, 1))
    bench.append(2, term=1, prev=(3, 1), commit=6)
    assert bench.log.last_index == 6
    assert bench.core.commit_index() == 3


def test_01_append_that_starts_below_the_commit_index_changes_nothing_committed() -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(2, term=1, prev=(1, 0), new=entries(2, 6, 1), commit=5)
    bench.tick()
    bench.append(2, term=1, prev=(2, 1), new=entries(3, 8, 1), commit=5)
    assert (bench.log.last_index, bench.core.commit_index()) == (8, 5)


def test_01_success_ack_never_moves_next_index_back() -> None:
    bench = CoreBench(1, 2, 3)
    term = bench.lead(2)
    bench.propose(*[b"x"] * 6)
    bench.sent.clear()
    bench.ack(2, 3)
    bench.tick(0.2)
    again = [msg for msg in bench.to(2, m.Append) if msg.entries]
    assert term == 1
    assert again == []


def test_02_ack_of_an_earlier_term_counts_for_nothing() -> None:
    bench = CoreBench(1, 2, 3, 4, 5)
    old_term = bench.lead(2, 4)
    bench.propose(*[b"a"] * 5)
    bench.append(
        3, term=old_term + 1, prev=(1, 0), new=(entry(2, old_term + 1), entry(3, old_term + 1))
    )
    bench.lead(3, 4)
    commit = bench.core.commit_index()
    bench.ack(3, 5)
    bench.ack(2, 8, term=old_term)  # the old ack, slow on its way
    bench.tick()
    assert bench.core.commit_index() == commit


def test_03_leader_without_a_quorum_steps_down() -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    began = bench.now
    while bench.core.role() == LEADER:
        bench.tick(0.05)
        assert bench.now - began < 2 * TIMING.quorum_s


def test_03_stale_leader_is_told_the_term() -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(3, term=9, prev=(1, 0))
    bench.append(2, term=2, prev=(1, 0))
    assert bench.sent[-1][0] == 2
    assert bench.last(m.Ack).term == 9
    stale = CoreBench(1, 2, 3)
    stale.lead(2)
    stale.receive(3, m.Ack(9, 0, 0, 0, reset=False, success=False))
    assert (stale.core.role(), stale.core.term()) == (FOLLOWER, 9)


def test_03_partitioned_member_does_not_raise_its_term_nor_depose_a_leader() -> None:
    alone = CoreBench(1, 2, 3)
    for _ in range(20):
        alone.tick(1.0)
    assert alone.core.term() == 0
    leader = CoreBench(1, 2, 3)
    term = leader.lead(3)
    leader.receive(2, m.VoteRequest(99, 1, 0, transfer=False))
    assert (leader.core.role(), leader.core.term()) == (LEADER, term)


def test_03_follower_of_a_live_leader_grants_no_pre_vote() -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(2, term=1, prev=(1, 0))
    bench.receive(3, m.PreVoteRequest(2, 5, 1, 0))
    answer = bench.last(m.PreVote)
    assert not answer.granted
    bench.now += TIMING.election_s
    bench.receive(3, m.PreVoteRequest(2, 6, 1, 0))
    answer = bench.last(m.PreVote)
    assert answer.granted


def test_04_read_waits_for_a_quorum_that_answered_after_it_began() -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    bench.ack(2, 3, round_=0)
    bench.tick()
    assert bench.core.read_index(bench.now, "read")
    bench.ack(2, 3, round_=0)  # an ack from before the read
    bench.tick()
    assert bench.confirmed == []
    bench.ack(3, 3, round_=1)
    assert bench.confirmed == [("read", 2)]


def test_04_new_leader_reads_nothing_before_its_first_entry_is_committed() -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    assert not bench.core.read_index(bench.now, "read")


def test_04_read_of_a_deposed_leader_fails() -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    bench.ack(2, 3)
    bench.tick()
    assert bench.core.read_index(bench.now, "read")
    bench.append(3, term=5, prev=(1, 0))
    assert bench.confirmed == [("read", 0)]


def test_05_nothing_is_sent_before_what_it_promises_is_durable() -> None:
    bench = DriverBench(1, 2, 3)
    bench.receive(2, m.Append(1, 1, 0, 1, 0, entries(2, 4, 1)))
    assert bench.of(m.Ack) == []
    assert bench.batch is not None
    bench.sync()
    assert len(bench.of(m.Ack)) == 1


def test_05_vote_outlives_a_crash_between_the_fsync_and_the_reply() -> None:
    bench = DriverBench(1, 2, 3)
    bench.receive(2, m.VoteRequest(1, 1, 0, transfer=False))
    assert bench.of(m.Vote) == []
    assert bench.batch is not None
    bench.wal.write(bench.batch.items)
    bench.start()
    bench.receive(3, m.VoteRequest(1, 1, 0, transfer=False))
    bench.sync()
    assert bench.of(m.Vote) == []


def test_05_vote_that_was_not_durable_was_never_sent() -> None:
    bench = DriverBench(1, 2, 3)
    bench.receive(2, m.VoteRequest(1, 1, 0, transfer=False))
    bench.start()
    bench.receive(3, m.VoteRequest(1, 1, 0, transfer=False))
    bench.sync()
    assert [peer for peer, msg in bench.sent if isinstance(msg, m.Vote)] == [3]


def test_05_single_member_applies_only_what_is_durable() -> None:
    bench = DriverBench(1)
    bench.advance(1.0)
    bench.sync()
    results: list[object] = []
    bench.driver.propose(bench.now, b"x", results.append)
    bench.advance()
    bench.advance()
    assert results == []
    bench.sync()
    assert len(results) == 1


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(m.Heartbeat(9, 0), id="heartbeat"),
        pytest.param(m.Append(9, 50, 0, 40, 8, ()), id="append that does not match"),
        pytest.param(m.Append(9, 50, 0, 0, 0, ()), id="append without prev"),
        pytest.param(m.Append(9, 50, 0, 1, 0, ()), id="append that matches less"),
    ],
)
def test_07_unverified_entries_are_never_committed(message: m.RaftMessage) -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    bench.propose(b"mine")
    bench.receive(3, message)
    bench.tick()
    assert bench.core.commit_index() == 1
    assert bench.applied == []


def test_08_vote_counts_once_for_each_voter() -> None:
    bench = CoreBench(1, 2, 3, 4, 5)
    bench.campaign(2, 3)
    for _ in range(3):
        bench.receive(2, m.Vote(bench.core.term()))
    assert bench.core.role() == CANDIDATE


def test_08_pre_vote_counts_once_for_each_voter() -> None:
    bench = CoreBench(1, 2, 3, 4, 5)
    bench.campaign(2, 2, 2)
    assert (bench.core.role(), bench.core.term()) == (FOLLOWER, 0)


def test_09_snapshot_never_replaces_a_longer_log() -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(2, term=1, prev=(1, 0), new=entries(2, 20, 1), commit=20)
    bench.tick()
    bench.receive(2, m.InstallSnapshot(1, 0, 10, 1, urls(1, 2, 3)))
    assert (bench.core.applied_index(), bench.log.last_index) == (20, 20)
    assert bench.installs == []
    ack = bench.last(m.Ack)
    assert (ack.success, ack.next_index) == (True, 11)


def test_09_snapshot_replaces_a_log_that_ends_before_it() -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(2, term=1, prev=(1, 0), new=entries(2, 5, 1), commit=5)
    bench.tick()
    bench.receive(2, m.InstallSnapshot(3, 0, 30, 2, urls(1, 2, 4)))
    assert bench.installs == [Base(30, 2, urls(1, 2, 4))]
    assert (bench.core.commit_index(), bench.log.last_index) == (30, 30)
    assert sorted(bench.core.voters()) == [1, 2, 4]


def test_09_compaction_after_a_truncation_keeps_the_log_whole() -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(2, term=1, prev=(1, 0), new=entries(2, 20, 1), commit=12)
    bench.tick()
    bench.append(3, term=2, prev=(12, 1), new=entries(13, 15, 2), commit=12)
    bench.core.compact(12)
    bench.append(3, term=2, prev=(15, 2), new=entries(16, 16, 2), commit=16)
    bench.tick()
    assert [e.index for e in bench.log.entries] == [12, 13, 14, 15, 16]
    assert [e.index for e in bench.applied] == list(range(2, 17))


def test_10_one_change_of_membership_at_a_time() -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    assert not bench.change_voter(4, "sim://4")  # first entry not committed
    bench.ack(2, 3)
    bench.tick()
    assert bench.change_voter(4, "sim://4")
    assert not bench.change_voter(5, "sim://5")
    bench.tick()
    for peer in (2, 3):
        bench.ack(peer, 4)
    bench.tick()
    assert bench.change_voter(5, "sim://5")
    assert sorted(bench.core.voters()) == [1, 2, 3, 4, 5]


def test_10_change_that_was_truncated_is_undone() -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    bench.ack(2, 3)
    bench.tick()
    assert bench.change_voter(4, "sim://4")
    assert 4 in bench.core.voters()
    bench.append(3, term=5, prev=(2, 1), new=entries(3, 3, 5))
    assert sorted(bench.core.voters()) == [1, 2, 3]


def test_10_compaction_keeps_the_membership_of_its_index_not_of_the_end() -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    bench.ack(2, 3)
    bench.tick()
    bench.propose(b"a", b"b")
    bench.ack(2, 5)
    bench.tick()
    assert bench.change_voter(4, "sim://4")
    bench.core.compact(4)
    assert sorted(bench.log.base.voters) == [1, 2, 3]
    assert sorted(bench.core.voters()) == [1, 2, 3, 4]


def test_10_restart_rebuilds_the_membership_from_base_and_log() -> None:
    change = Entry(MEMBERSHIP + encode_voters(urls(1, 2, 3, 4)), 11, 2)
    image = LogImage(HardState(2, 0, 10), Base(10, 2, urls(1, 2, 3)), (change,))
    bench = CoreBench(1, 2, 3, image=image, applied=10)
    assert bench.core.voters() == urls(1, 2, 3, 4)
    assert bench.core.members_at(10) == urls(1, 2, 3)


def test_10_ack_of_a_removed_member_is_ignored() -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    bench.ack(2, 3)
    bench.tick()
    assert bench.change_voter(3, None)
    bench.ack(3, 3)
    bench.ack(77, 3)
    bench.tick()
    assert bench.core.role() == LEADER


def test_10_removed_member_does_not_campaign() -> None:
    bench = CoreBench(1, 2, 3)
    change = Entry(MEMBERSHIP + encode_voters(urls(2, 3)), 2, 1)
    bench.append(2, term=1, prev=(1, 0), new=(change,), commit=2)
    bench.sent.clear()
    for _ in range(10):
        bench.tick(1.0)
    assert bench.sent == []


def _leader_with_learner() -> CoreBench:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    bench.ack(2, 3)
    bench.tick()
    assert bench.core.change_members(bench.now, {**urls(1, 2, 3), 4: as_learner("sim://4")})
    bench.ack(2, 4)
    bench.tick()
    bench.core.connected(bench.now, 4)
    return bench


def test_10_learner_gets_the_log_and_counts_for_nothing() -> None:
    bench = _leader_with_learner()
    bench.propose(b"a")
    assert bench.core.commit_index() == 3
    bench.tick(0.2)
    assert bench.to(4, m.Append)
    bench.ack(4, 5)
    bench.tick()
    assert bench.core.commit_index() == 3  # two of three voters are needed
    assert bench.core.read_index(bench.now, "read")
    bench.tick()
    round_ = bench.to(4, m.Append)[-1].round
    bench.ack(4, 5, round_=round_)
    assert bench.confirmed == []
    bench.ack(2, 5, round_=round_)
    bench.tick()
    assert bench.core.commit_index() == 4
    assert bench.confirmed == [("read", 3)]


def test_10_learners_vote_does_not_count() -> None:
    bench = CoreBench(1, 2, 3, image=first_image({**urls(1, 2, 3), 4: as_learner("sim://4")}))
    bench.campaign(2)
    assert bench.core.role() == CANDIDATE
    bench.receive(4, m.Vote(bench.core.term()))
    assert bench.core.role() == CANDIDATE
    assert bench.to(4, m.VoteRequest) == []


def test_10_learner_is_in_sync_only_while_it_answers_with_most_of_the_log() -> None:
    bench = _leader_with_learner()
    for _ in range(30):
        bench.propose(b"a")
    bench.ack(4, 10)
    assert not bench.core.is_in_sync(bench.now, 4)
    bench.ack(4, bench.log.last_index + 1)
    assert bench.core.is_in_sync(bench.now, 4)
    assert not bench.core.is_in_sync(bench.now + TIMING.quorum_s, 4)


def test_10_learner_does_not_campaign_until_it_is_promoted() -> None:
    learner = {**urls(2, 3), 1: as_learner("sim://1")}
    bench = CoreBench(1, 2, 3, image=first_image(learner))
    for _ in range(10):
        bench.tick(1.0)
    assert bench.sent == []
    promotion = Entry(MEMBERSHIP + encode_voters(urls(1, 2, 3)), 2, 1)
    bench.append(2, term=1, prev=(1, 0), new=(promotion,), commit=2)
    for _ in range(3):
        bench.tick(1.0)
    assert bench.to(2, m.PreVoteRequest)


@pytest.mark.parametrize(
    ("after", "allowed"),
    [
        pytest.param(urls(1, 2, 3), False, id="nothing"),
        pytest.param({**urls(1, 2), 3: REMOVED}, True, id="one voter less"),
        pytest.param(urls(1, 2, 3, 4), True, id="one voter more"),
        pytest.param({**urls(1, 2, 3), 5: as_learner("sim://5")}, True, id="no voter"),
        pytest.param({**urls(1, 2, 3), 2: "sim://moved"}, True, id="a voter moved"),
        pytest.param(urls(1, 2, 3, 4, 5), False, id="two voters more"),
        pytest.param({**urls(1, 2, 4), 3: REMOVED}, False, id="one for another"),
        pytest.param({1: REMOVED, **urls(2, 3)}, False, id="without the leader"),
    ],
)
def test_10_change_touches_one_voter_at_most_and_not_the_leader(
    after: dict[int, str], *, allowed: bool
) -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    bench.ack(2, 3)
    bench.tick()
    assert bench.core.change_members(bench.now, after) is allowed


@pytest.mark.parametrize("size", [65_535, 65_536, 131_071, 131_072, 900_000])
def test_11_large_entries_arrive_whole(size: int) -> None:
    leader, follower = CoreBench(1, 2), CoreBench(1, 2)
    leader.lead(2)
    leader.propose(b"v" * size)
    for message in leader.to(2, m.Append):
        follower.receive(2, message)
    assert follower.log.entries[1:] == leader.log.entries[1:]


def test_12_conflicting_term_is_skipped_in_one_round() -> None:
    follower = CoreBench(1, 2, 3)
    follower.append(3, term=1, prev=(1, 0), new=entries(2, 500, 1))
    follower.append(2, term=2, prev=(500, 2), new=entries(501, 501, 2))
    ack = follower.last(m.Ack)
    assert (ack.reset, ack.next_index) == (True, 2)


def test_12_rejected_append_is_followed_up_at_once() -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    bench.sent.clear()
    bench.receive(3, m.Ack(1, 2, 1, 0, reset=True, success=False))
    bench.tick()
    first = bench.to(3, m.Append)[-1]
    assert [e.index for e in first.entries] == [2]


def test_13_failing_apply_ends_the_member_instead_of_looping() -> None:
    bench = DriverBench(1)
    bench.advance(1.0)
    bench.sync()

    def broken(commands: object) -> list[object]:
        raise OSError("disk full")

    bench.machine.apply = broken  # type: ignore[method-assign]
    bench.driver.propose(bench.now, b"x", lambda _: None)
    bench.advance()
    with pytest.raises(OSError, match="disk full"):
        bench.sync()


def test_14_waiters_of_a_deposed_leader_learn_that_a_snapshot_jumped_over_them() -> None:
    bench = DriverBench(1, 2, 3)
    bench.lead(2)
    results: list[object] = []
    bench.driver.propose(bench.now, b"mine", results.append)
    bench.advance()
    bench.sync()
    head = m.InstallSnapshot(9, 0, 30, 9, urls(1, 2, 3))
    bench.take_snapshot(3, head, State(30, 9, 12345))
    assert results == []
    bench.sync()
    assert [type(result) for result in results] == [UnknownOutcomeError]
    assert bench.machine.state == State(30, 9, 12345)


def test_14_proposal_of_a_deposed_leader_is_proposed_again_and_applied_once() -> None:
    bench = DriverBench(1, 2, 3)
    bench.lead(2)
    results: list[object] = []
    bench.driver.propose(bench.now, b"mine", results.append)
    bench.advance()
    bench.sync()
    bench.receive(3, m.Append(5, 3, 0, 1, 0, (Entry(NO_OP, 2, 5), entry(3, 5))))
    bench.sync()
    assert [(f.term, [p.data for p in f.proposals]) for f in bench.of(m.Forward)] == [
        (5, [b"mine"])
    ]
    assert results == []


def test_14_proposal_forwarded_for_another_term_is_refused() -> None:
    bench = DriverBench(1, 2, 3)
    term = bench.lead(2)
    bench.receive(2, m.Forward(term - 1, (m.Proposal(7, 1, b"old"),)))
    bench.receive(2, m.Forward(term, (m.Proposal(7, 2, b"new"),)))
    bench.sync()
    assert bench.of(m.ForwardRefusal) == [m.ForwardRefusal(term - 1, (1,))]
    assert bench.driver.status().last_index == 3


def test_14_nothing_is_forwarded_to_a_leader_that_is_not_connected() -> None:
    bench = DriverBench(1, 2, 3)
    bench.driver.disconnected(bench.now, 2)
    bench.receive(2, m.Append(1, 1, 0, 1, 0, ()))
    bench.sync()
    bench.driver.propose(bench.now, b"x", lambda _: None)
    bench.advance()
    assert bench.of(m.Forward) == []
    bench.driver.connected(bench.now, 2)
    bench.advance()
    assert len(bench.of(m.Forward)) == 1


def test_17_lagging_peer_gets_one_sign_of_life_a_round_and_a_snapshot_is_wanted() -> None:
    image = LogImage(HardState(3, 0, 50), Base(50, 3, urls(1, 2, 3)), entries(51, 60, 3))
    bench = CoreBench(1, 2, 3, image=image, applied=50)
    bench.lead(2)
    bench.receive(3, m.Ack(bench.core.term(), 5, 60, 0, reset=True, success=False))
    bench.sent.clear()
    bench.tick()
    assert [type(message) for message in bench.to(3, object)] == [m.Heartbeat]
    assert bench.wanted[-1] == 3
    assert len(bench.to(2, m.Append)) == 1


def test_18_next_index_never_passes_the_end_of_the_log() -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(3)
    bench.receive(2, m.Ack(1, 50, 0, 0, reset=True, success=False))
    bench.sent.clear()
    bench.tick()
    append = bench.to(2, m.Append)[-1]
    assert append.prev_index == 2


def test_19_congested_peer_gets_no_entries_but_signs_of_life() -> None:
    bench = CoreBench(1, 2, 3)
    bench.lead(2)
    bench.congested_peers.add(3)
    bench.sent.clear()
    bench.propose(b"x")
    assert [type(message) for message in bench.to(3, object)] == [m.Heartbeat]
    bench.congested_peers.clear()
    bench.tick(0.2)
    append = bench.to(3, m.Append)[-1]
    assert append.entries


def test_20_killed_leader_is_replaced_without_waiting_for_the_election_timeout() -> None:
    bench = CoreBench(1, 2, 3, timing=replace(TIMING, election_s=10.0, election_s_max=15.0))
    bench.append(2, term=1, prev=(1, 0))
    bench.core.disconnected(bench.now, 2)
    bench.tick(4.0)
    assert bench.to(3, m.PreVoteRequest)


def test_21_leadership_transfer_elects_the_target_in_spite_of_the_lease() -> None:
    target = CoreBench(1, 2, 3)
    target.append(2, term=1, prev=(1, 0))
    target.receive(2, m.TimeoutNow(1))
    target.tick()
    request = target.to(3, m.VoteRequest)[-1]
    assert request.transfer
    voter = CoreBench(1, 2, 3)
    voter.append(2, term=1, prev=(1, 0))
    voter.receive(3, request)
    assert voter.to(3, m.Vote)


def test_21_only_the_leader_may_ask_for_a_transfer() -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(2, term=1, prev=(1, 0))
    bench.receive(3, m.TimeoutNow(1))
    bench.tick()
    assert bench.to(2, m.VoteRequest) == []
