"""Proposals over connections that break on their way: none is lost, and none is applied twice."""

from __future__ import annotations

from store.raft import messages as m
from store.raft.messages import Entry
from store.raft.packing import NO_OP, PROPOSALS, pack
from tests.store.raft.bench import DriverBench, entry


def _following(bench: DriverBench, *, term: int = 1) -> None:
    """Follow member 2, and have the first entry of its term applied."""
    bench.receive(2, m.Append(term, 2, 0, 1, 0, (Entry(NO_OP, 2, term),)))
    bench.sync()


def _forwarded(bench: DriverBench) -> list[bytes]:
    return [p.data for forward in bench.of(m.Forward) for p in forward.proposals]


def test_proposal_that_a_connection_swallowed_is_forwarded_again_behind_a_fence() -> None:
    bench = DriverBench(1, 2, 3)
    _following(bench)
    for data in (b"arrives", b"is lost"):
        bench.driver.propose(bench.now, data, lambda _: None)
    bench.advance()
    bench.driver.disconnected(bench.now, 2)
    bench.driver.connected(bench.now, 2)
    bench.advance()
    (fence,) = bench.of(m.Fence)
    bench.receive(2, m.FenceReply(1, fence.number, 4))
    arrived = bench.of(m.Forward)[0].proposals[0]
    assert _forwarded(bench) == [b"arrives", b"is lost"]  # the log may yet hold both
    own = Entry(PROPOSALS + pack([arrived]), 3, 1)
    bench.receive(2, m.Append(1, 4, 0, 2, 1, (own, entry(4, 1))))
    bench.sync()
    assert _forwarded(bench) == [b"arrives", b"is lost", b"is lost"]


def test_proposal_that_was_sent_again_is_not_behind_the_old_fence() -> None:
    bench = DriverBench(1, 2, 3)
    _following(bench)
    bench.driver.propose(bench.now, b"once", lambda _: None)
    bench.advance()
    bench.driver.connected(bench.now, 2)
    bench.advance()
    (fence,) = bench.of(m.Fence)
    (proposal,) = bench.of(m.Forward)[0].proposals
    bench.receive(2, m.ForwardRefusal(1, (proposal.sequence,)))
    bench.advance(0.2)
    bench.receive(2, m.FenceReply(1, fence.number, 2))
    bench.advance(0.2)
    assert _forwarded(bench) == [b"once", b"once"]


def test_silence_about_a_proposal_is_asked_about_with_the_same_fence() -> None:
    bench = DriverBench(1, 2, 3)
    _following(bench)
    bench.driver.propose(bench.now, b"slow", lambda _: None)
    for _ in range(4):
        bench.advance(0.3)
    numbers = {fence.number for fence in bench.of(m.Fence)}
    assert len(bench.of(m.Fence)) > 1
    assert len(numbers) == 1


def test_leader_answers_a_fence_once_all_before_it_is_in_the_log() -> None:
    bench = DriverBench(1, 2, 3)
    term = bench.lead(2)
    bench.driver.propose(bench.now, b"under way", lambda _: None)
    bench.advance()  # the disk is busy: what comes now waits
    bench.receive(2, m.Forward(term, (m.Proposal(7, 1, b"forwarded"),)))
    bench.receive(2, m.Fence(term, 5))
    bench.receive(3, m.Fence(term - 1, 6))
    bench.sync()
    assert bench.of(m.FenceReply) == [m.FenceReply(term, 5, bench.driver.status().last_index)]
    assert bench.driver.status().last_index == 4
