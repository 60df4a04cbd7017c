"""What a leader may do before its own disk has an entry, and what followers need not say again."""

from __future__ import annotations

import pytest

from store.raft import messages as m
from store.raft.hardened import LEADER
from store.raft.membership import as_learner
from tests.store.raft.bench import TIMING, CoreBench, DriverBench, entries, urls


def test_leader_sends_before_its_own_fsync_but_counts_itself_only_after() -> None:
    bench = DriverBench(1, 2, 3)
    term = bench.lead(2)
    last = bench.driver.status().last_index
    bench.receive(2, m.Ack(term, last + 1, 0, 0, reset=False, success=True))
    results: list[object] = []
    bench.driver.propose(bench.now, b"x", results.append)
    bench.advance()
    assert bench.batch is not None
    assert [new.index for new in bench.of(m.Append)[-1].entries] == [last + 1]
    bench.receive(2, m.Ack(term, last + 2, 0, 0, reset=False, success=True))
    assert bench.driver.status().commit_index == last
    assert results == []
    bench.sync()
    assert bench.driver.status().commit_index == last + 1
    assert len(results) == 1


def test_leader_sends_no_entry_of_a_term_that_it_may_forget() -> None:
    """A single voter leads at once: were its term lost, it would use the index and term again."""
    bench = DriverBench(1)
    bench.lead()
    learner = {1: "sim://1", 2: as_learner("sim://2")}
    bench.driver.change_members(bench.now, urls(1), learner, lambda _: None)
    bench.sync()
    bench.advance()
    bench.sync()
    bench.start()
    bench.driver.connected(bench.now, 2)
    bench.advance(1.0)
    assert bench.driver.core.role() == LEADER
    assert bench.batch is not None
    assert bench.of(m.Append) == []
    bench.sync()
    assert bench.of(m.Append)


def test_commit_index_is_not_answered_again_and_again() -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(2, term=1, prev=(1, 0), new=entries(2, 4, 1))
    bench.append(2, term=1, prev=(4, 1), commit=3)
    bench.append(2, term=1, prev=(4, 1), commit=4)
    assert [ack.next_index for ack in bench.to(2, m.Ack)] == [5]
    assert bench.core.commit_index() == 4


@pytest.mark.parametrize(
    "why", ["time has passed", "a read waits", "the connection is another", "it has entries"]
)
def test_append_that_tells_nothing_new_is_answered_when(why: str) -> None:
    bench = CoreBench(1, 2, 3)
    bench.append(2, term=1, prev=(1, 0), new=entries(2, 4, 1))
    round_, again = 0, entries(4, 4, 1)[:0]
    match why:
        case "time has passed":
            bench.tick(TIMING.heartbeat_s / 2)
        case "a read waits":
            round_ = 1
        case "the connection is another":
            bench.core.disconnected(bench.now, 2)
            bench.core.connected(bench.now, 2)
        case _:
            again = entries(4, 4, 1)
    prev = 3 if again else 4
    bench.receive(2, m.Append(1, 1, round_, prev, 1, again))
    assert [ack.next_index for ack in bench.to(2, m.Ack)] == [5, 5]
