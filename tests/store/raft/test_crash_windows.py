"""Crashes at each operation of the disk, and Figure 8 of the Raft paper."""

from __future__ import annotations

import random
from functools import partial

import pytest

from store.raft import messages as m
from store.raft.engine import Command
from tests.sim.checkers import chain
from tests.sim.disk import Disk, PowerLossError, State, VirtualDirectory
from tests.store.raft.bench import CoreBench, DriverBench, entries, urls


def test_figure_8_entry_of_an_earlier_term_is_not_committed_by_counting() -> None:
    bench = CoreBench(1, 2, 3, 4, 5)
    old = bench.lead(2, 3)
    bench.propose(b"two")
    bench.ack(2, 4)  # (a): on members 1 and 2
    bench.receive(5, m.Ack(old + 1, 0, 0, 0, reset=False, success=False))  # (b): 5 leads
    bench.lead(2, 3)
    bench.ack(2, 4)
    bench.ack(3, 4)  # (c): "two" is on a majority now, but 5 could still overwrite it
    bench.tick()
    assert bench.core.commit_index() == 1
    bench.ack(2, 5)
    bench.ack(3, 5)  # (e): with an entry of the leader's own term it is safe
    bench.tick()
    assert bench.core.commit_index() == 4


class _History:
    """What a single member that crashes on the way must still know at the end."""

    def __init__(self) -> None:
        self.disk = Disk(VirtualDirectory("crashing"))
        self.bench = DriverBench(1, disk=self.disk)
        self.applied: dict[int, bytes] = {}
        self.acknowledged: list[tuple[bytes, object]] = []
        self.batches = 0

    def run(self, *, batch: int, operation: int, seed: int) -> bool:
        """Write 30 commands, losing power in one batch; whether that batch came at all."""
        hit = self._boot(batch, operation, seed)
        for number in range(30):
            data = b"c%d" % number
            try:
                done = partial(self._acknowledge, data)
                self.bench.driver.propose(self.bench.now, data, done)
                self.bench.advance()
                self._sync(batch, operation, seed)
            except PowerLossError:
                hit = True
                self.bench.start()
                self._boot(batch, operation, seed)
        return hit

    def check(self) -> None:
        committed = [self.applied[index] for index in sorted(self.applied)]
        for data, result in self.acknowledged:
            assert isinstance(result, int)
            assert self.applied[result] == data
        value = 0
        for data in committed:
            value = chain(value, data)
        assert self.bench.machine.state.hash == value
        assert len(committed) >= 29  # the one under way may be lost, no other

    def _acknowledge(self, data: bytes, result: object) -> None:
        self.acknowledged.append((data, result))

    def _boot(self, batch: int, operation: int, seed: int) -> bool:
        self.bench.machine._on_apply = self._on_apply
        try:
            self.bench.advance(1.0)
            self._sync(batch, operation, seed)
        except PowerLossError:
            self.bench.start()
            self._boot(batch, operation, seed)
            return True
        return False

    def _sync(self, batch: int, operation: int, seed: int) -> None:
        while self.bench.batch is not None:
            self.batches += 1
            if self.batches == batch:
                self.disk.wal.lose_power_after(operation, random.Random(seed))
            items = self.bench.batch.items
            self.bench.batch = None
            self.bench.wal.write(items)
            self.disk.wal.power_on()
            self.bench.driver.persisted(self.bench.now)
            self.bench.advance()

    def _on_apply(self, command: Command, state: State) -> None:
        known = self.applied.setdefault(command.index, command.data)
        assert known == command.data


@pytest.mark.parametrize("operation", range(5))
def test_crash_in_every_window_of_log_compaction_loses_nothing(operation: int) -> None:
    batch = 1
    while True:
        history = _History()
        hit = history.run(batch=batch, operation=operation, seed=batch)
        history.check()
        if batch > history.batches:
            break
        batch += 1
        assert hit or operation > 0
    assert batch > 30


def _follower(disk: Disk) -> DriverBench:
    bench = DriverBench(1, 2, 3, disk=disk)
    bench.receive(2, m.Append(1, 5, 0, 1, 0, entries(2, 5, 1)))
    bench.sync()
    return bench


_SNAPSHOT = State(30, 2, 4711)
_HEAD = m.InstallSnapshot(2, 0, 30, 2, urls(1, 2, 3))


def _check_installed(bench: DriverBench) -> None:
    bench.receive(2, m.Append(2, 32, 0, 30, 2, entries(31, 32, 2)))
    bench.sync()
    assert bench.machine.state.index == 32
    assert bench.driver.core.applied_index() == 32


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("operation", range(4))
def test_crash_while_a_snapshot_takes_the_logs_place(operation: int, seed: int) -> None:
    disk = Disk(VirtualDirectory("crashing"))
    bench = _follower(disk)
    bench.take_snapshot(2, _HEAD, _SNAPSHOT)
    disk.wal.lose_power_after(operation, random.Random(seed))
    try:
        bench.sync()
    except PowerLossError:
        bench.start()
    if bench.machine.state.index < 30:
        assert bench.driver.core.applied_index() <= 5
        bench.take_snapshot(2, _HEAD, _SNAPSHOT)
        disk.wal.power_on()
        bench.sync()
    disk.wal.power_on()
    _check_installed(bench)


@pytest.mark.parametrize("told", [False, True])
def test_crash_between_the_logs_reset_and_the_install_finishes_the_install(*, told: bool) -> None:
    bench = _follower(Disk(VirtualDirectory("crashing")))
    bench.take_snapshot(2, _HEAD, _SNAPSHOT)
    assert bench.batch is not None
    bench.wal.write(bench.batch.items)
    if told:  # and the state machine has begun with it
        bench.driver.persisted(bench.now)
        bench.advance()
        assert bench.installing is not None
    bench.start()
    assert bench.machine.state == _SNAPSHOT
    _check_installed(bench)


def test_crash_before_the_logs_reset_keeps_the_old_state() -> None:
    bench = _follower(Disk(VirtualDirectory("crashing")))
    bench.disk.state = bench.machine.state
    bench.take_snapshot(2, _HEAD, _SNAPSHOT)
    bench.start()
    assert (bench.machine.state.index, bench.driver.core.applied_index()) == (5, 5)
    bench.take_snapshot(2, _HEAD, _SNAPSHOT)
    bench.sync()
    _check_installed(bench)


def test_entries_behind_a_snapshot_wait_until_it_is_installed() -> None:
    bench = _follower(Disk(VirtualDirectory("crashing")))
    bench.take_snapshot(2, _HEAD, _SNAPSHOT)
    bench.receive(2, m.Append(2, 31, 0, 30, 2, entries(31, 31, 2)))
    assert bench.machine.state.index == 5
    assert bench.driver.status().applied_index == 5
    assert bench.installing is None  # not before the log's new start is durable
    bench.write()
    # The log is durable, the old state is still being replaced: the log grows, nothing is applied.
    bench.receive(2, m.Append(2, 32, 0, 31, 2, entries(32, 32, 2)))
    while bench.write():
        bench.advance(0.1)
    assert bench.of(m.Ack)[-1].next_index == 33
    assert (bench.machine.state.index, bench.driver.status().applied_index) == (5, 5)
    bench.finish_install()
    assert (bench.machine.state.index, bench.driver.status().applied_index) == (32, 32)
