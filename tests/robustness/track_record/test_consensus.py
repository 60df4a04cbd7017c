"""What etcd's robustness suite found around consensus, asked of ours.

The numbers are those of etcd's issues; docs/robustness.md says what went wrong there.
"""

from __future__ import annotations

from functools import partial

import pytest

from store.raft import messages as m
from store.raft.reads import Reads
from tests.sim.disk import Disk, State, VirtualDirectory
from tests.store.raft.bench import DriverBench, entries, urls


@pytest.mark.parametrize("written", [False, True], ids=["before the fsync", "after the fsync"])
def test_14370_a_single_member_acknowledges_nothing_that_a_crash_takes(*, written: bool) -> None:
    """Every write is followed by a crash, right before or after its fsync."""
    bench = DriverBench(1, disk=Disk(VirtualDirectory("alone")))
    acknowledged: list[object] = []
    for number in range(20):
        bench.advance(1.0)
        bench.sync()
        applied = bench.machine.state.index
        done = partial(_note, acknowledged)
        bench.driver.propose(bench.now, b"write %d" % number, done)
        bench.advance()
        assert len(acknowledged) == (number if written else 0)
        assert bench.machine.state.index == applied
        if written:
            bench.sync()
            assert len(acknowledged) == number + 1
        before = bench.machine.state
        bench.start()
        bench.advance(1.0)
        bench.sync()
        # The log has all that was acknowledged: its hash is one link behind the next term's entry.
        assert bench.machine.state.index >= before.index
    assert all(isinstance(index, int) for index in acknowledged)


def _note(acknowledged: list[object], result: object) -> None:
    acknowledged.append(result)


FIRST, SECOND = State(30, 2, 4711), State(60, 2, 815)


def _head(state: State) -> m.InstallSnapshot:
    return m.InstallSnapshot(2, 0, state.index, state.term, urls(1, 2, 3))


@pytest.mark.parametrize("synced", [False, True], ids=["at once", "one after the other"])
@pytest.mark.parametrize("crash", [False, True], ids=["", "and a crash"])
@pytest.mark.parametrize("order", [(FIRST, SECOND), (SECOND, FIRST)], ids=["newer", "older"])
def test_18055_two_snapshots_in_a_row_leave_the_newer_one(
    order: tuple[State, State], *, synced: bool, crash: bool
) -> None:
    bench = DriverBench(1, 2, 3, disk=Disk(VirtualDirectory("twice")))
    bench.receive(2, m.Append(1, 5, 0, 1, 0, entries(2, 5, 1)))
    bench.sync()
    for state in order:
        bench.take_snapshot(2, _head(state), state)
        if synced:
            bench.sync()
    if crash:
        bench.start()
    bench.sync()
    # Whatever was lost with the crash is sent again by the leader.
    bench.take_snapshot(2, _head(SECOND), SECOND)
    bench.sync()
    bench.receive(2, m.Append(2, 62, 0, 60, 2, entries(61, 62, 2)))
    bench.sync()
    assert bench.machine.state.index == 62


def test_20418_an_answer_to_an_earlier_try_does_not_serve_a_later_read() -> None:
    """A paused leader answers late; by then another leads and has written."""
    reads = Reads(first=100, retry_s=0.1)
    answers: list[object] = []
    reads.add(50.0, answers.append)
    first = reads.begin(0.0, term=1)
    # No answer in time: tried again, under another leader.
    second = reads.begin(5.0, term=2)
    assert second
    assert first != second
    reads.add(50.0, answers.append)
    reads.confirmed(5.1, first, 7, applied=9)
    assert answers == []
    reads.confirmed(5.2, second, 9, applied=9)
    assert answers == [9]
    third = reads.begin(5.3, term=2)
    reads.confirmed(5.4, second, 9, applied=9)
    assert answers == [9]
    reads.confirmed(5.5, third, 10, applied=10)
    assert answers == [9, 10]
