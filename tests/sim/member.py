"""One simulated member: production's driver, core, log and WAL on a virtual disk and network.

A crash may come at any event, within a write, between the fsync and the sending, and within it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from store.raft import messages as m
from store.raft.driver import Driver, Options
from store.raft.effects import Timing
from store.raft.engine import Command
from store.raft.hardened import LEADER
from store.raft.log import Base, Batch, Log
from store.raft.proposals import PACKED_BYTES
from store.raft.wal import Identity, open_wal
from tests.sim.disk import Disk, PowerLossError, State, VirtualStateMachine
from tests.sim.leases import POLL_S, LeaseDuty

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster

CLUSTER_ID = 7
# Small, so that segments roll and are dropped all the time.
SEGMENT_BYTES = 1500
TIMING = Timing(
    heartbeat_s=0.1,
    election_s=0.5,
    election_s_max=0.75,
    quorum_s=0.6,
    append_bytes_max=2 * PACKED_BYTES,
)
OPTIONS = Options(TIMING, proposal_s=2.0, compact_entries=25, retained_entries=12)


class CrashError(Exception):
    """The member stops in the middle of a step."""


class Member:
    """Implements `store.raft.driver.Shell`."""

    def __init__(
        self, cluster: Cluster, member_id: int, disk: Disk, voters: dict[int, str]
    ) -> None:
        self.id = member_id
        self.up = True
        self.paused_until = 0.0
        self._cluster = cluster
        self._clock = cluster.clock
        self._disk = disk
        self._rng = random.Random(cluster.rng.getrandbits(64))
        self._write: Batch | None = None
        self._deferred: list[Callable[[], None]] = []
        self._resuming = False
        self._streams: set[int] = set()
        self._kicked = False
        self._wake_at = float("inf")
        self._seen_leader = 0
        self._seen_commit = 0
        self._seen_log: list[m.Entry] = []
        disk.wal.power_on()
        self._wal, image = open_wal(
            disk.wal, Identity(CLUSTER_ID, member_id), voters, segment_bytes=SEGMENT_BYTES
        )
        self._finish_install(image.base)
        self.log = Log(image)
        self.machine = VirtualStateMachine(disk, self._on_apply, self._after_a_while)
        self.driver = Driver(
            member_id,
            self.log,
            self.machine,  # type: ignore[arg-type]  # no files here
            self,
            cluster.options,
            rng=self._rng,
            now=self._clock.now,
        )
        self._lease_duty = LeaseDuty(self, election_s=TIMING.election_s)
        self._clock.after(self._rng.random() * POLL_S, self._look_after_leases)
        self._seen_log = list(self.log.entries)
        self._seen_commit = self.log.base.index
        self.kick()

    # ---- inputs from the cluster

    def receive(self, sender: int, message: m.Message) -> None:
        if self._defer(lambda: self.receive(sender, message)):
            return
        self._step(lambda: self.driver.receive(self._clock.now, sender, message))

    def connected(self, peer: int) -> None:
        if not self._defer(lambda: self.connected(peer)):
            self._step(lambda: self.driver.connected(self._clock.now, peer))

    def disconnected(self, peer: int) -> None:
        if not self._defer(lambda: self.disconnected(peer)):
            self._step(lambda: self.driver.disconnected(self._clock.now, peer))

    def kick(self) -> None:
        if not self._kicked:
            self._kicked = True
            self._clock.after(self._rng.random() * 0.001, self._advance)

    def crash(self) -> None:
        """Lose power, now: what the disk had under way is torn somewhere."""
        self.up = False
        self._observe_log()
        if self._write is not None and self._rng.random() < 0.8:
            self._disk.wal.lose_power_after(self._rng.choice((0, 0, 0, 1, 2)), self._rng)
            with contextlib.suppress(PowerLossError):
                self._wal.write(self._write.items)
            self._disk.wal.power_on()
        if self._rng.random() < 0.5:
            # The process died but not the machine: what was applied is still there.
            self._disk.state = self.machine.state

    # ---- Shell

    def persist(self, batch: Batch) -> None:
        self._write = batch
        delay = self._rng.random() * (0.002 if self._rng.random() < 0.95 else 0.2)
        self._clock.after(delay, lambda: self._persisted(batch))
        if self._cluster.crashes_here():
            self._clock.after(delay * self._rng.random(), self._lose_power)

    def send(self, peer: int, message: m.Message) -> None:
        if self._cluster.crashes_here():
            raise CrashError
        self._cluster.network.send(self.id, peer, message)

    def congested(self, peer: int) -> bool:
        return self._rng.random() < 0.002

    def stream_snapshot(self, peer: int, term: int) -> None:
        if peer in self._streams:
            return
        self._streams.add(peer)
        state = self._disk.state
        head = m.InstallSnapshot(term, 0, state.index, state.term, {})
        if state.index >= self.log.base.index:
            members = self.driver.core.members_at(state.index)
            head = m.InstallSnapshot(term, 0, state.index, state.term, members)
            self._cluster.network.send_file(
                self.id, peer, lambda: self._cluster.snapshot_arrives(self.id, peer, head, state)
            )
        self._clock.after(0.3, lambda: self._streams.discard(peer))

    def streaming(self) -> bool:
        return bool(self._streams)

    def install(self, base: Base) -> None:
        self._after_a_while(lambda: self._install(base))

    def discard_snapshot(self, index: int, term: int) -> None:
        self._disk.snapshots.pop((index, term), None)

    def silent_peers(self) -> tuple[int, ...]:
        return ()

    def take_snapshot(self, sender: int, head: m.InstallSnapshot, state: State) -> None:
        if self._defer(lambda: self.take_snapshot(sender, head, state)):
            return
        # Until the file is synced, a crash leaves nothing of it.
        self._after_a_while(lambda: self._snapshot_is_durable(sender, head, state))

    def _snapshot_is_durable(self, sender: int, head: m.InstallSnapshot, state: State) -> None:
        if not self._defer(lambda: self._snapshot_is_durable(sender, head, state)):
            self._disk.snapshots[head.index, head.snapshot_term] = state
            self._step(lambda: self.driver.receive(self._clock.now, sender, head))

    # ---- parts

    def _after_a_while(self, action: Callable[[], object]) -> None:
        """Do something that a thread does, unless the member crashes first."""
        seconds = self._rng.random() * self._rng.choice((0.001, 0.05, 0.6))

        def act() -> None:
            if self.up:
                action()

        self._clock.after(seconds, act)

    def _install(self, base: Base) -> None:
        if not self._defer(lambda: self._install(base)):
            self.machine.install(self._disk.snapshots.pop((base.index, base.term)))
            self._lease_duty.note(self.machine.leases.lessor, self._clock.now)
            self._cluster.snapshots += 1
            self._step(lambda: self.driver.snapshot_installed(self._clock.now))

    def _look_after_leases(self) -> None:
        if not self._defer(self._look_after_leases):
            self._lease_duty.step(self._clock.now)
            self._clock.after(POLL_S, self._look_after_leases)

    def _finish_install(self, base: Base) -> None:
        """As RaftEngine does when it starts."""
        snapshot = self._disk.snapshots.get((base.index, base.term))
        if self._disk.state.index < base.index and snapshot is not None:
            self._disk.state = snapshot
        self._disk.snapshots.clear()

    def _defer(self, again: Callable[[], None]) -> bool:
        """Put an event off while this member is paused; they come in order when it goes on."""
        if not self.up:
            return True
        paused = self.paused_until > self._clock.now
        if not paused and (self._resuming or not self._deferred):
            return False
        if not self._deferred:
            self._clock.at(self.paused_until, self._resume)
        self._deferred.append(again)
        return True

    def _resume(self) -> None:
        if self.paused_until > self._clock.now:
            self._clock.at(self.paused_until, self._resume)
            return
        events, self._deferred = self._deferred, []
        self._resuming = True
        for event in events:
            event()
        self._resuming = False

    def _step(self, action: Callable[[], object]) -> None:
        if not self.up:
            return
        self._run(action)
        self.kick()

    def _run(self, action: Callable[[], object]) -> None:
        try:
            action()
        except CrashError:
            self._cluster.crash(self.id, restart=True)
        if self.up:
            self._observe()

    def _advance(self) -> None:
        if self._defer(self._advance) or not self.up:
            return
        self._kicked = False
        self._run(lambda: self.driver.advance(self._clock.now))
        if self._crashed():
            return
        wakeup = self.driver.wakeup()
        if not self._clock.now < self._wake_at <= wakeup:
            self._wake_at = wakeup
            self._clock.at(wakeup, self.kick)

    def _lose_power(self) -> None:
        if self.up:
            self._cluster.crash(self.id, restart=True)

    def _crashed(self) -> bool:
        return not self.up

    def _persisted(self, batch: Batch) -> None:
        if not self.up or self._defer(lambda: self._persisted(batch)):
            return
        if self._cluster.crashes_here():
            self._cluster.crash(self.id, restart=True)
            return
        if self._write is not None:
            self._wal.write(batch.items)
            self._write = None
        if self._cluster.crashes_here():
            self._cluster.crash(self.id, restart=True)
            return
        self._step(lambda: self.driver.persisted(self._clock.now))

    # ---- what the checkers see

    def _on_apply(self, command: Command, state: State) -> None:
        checkers, now = self._cluster.checkers, self._clock.now
        place = (command.index, command.position)
        lessor = self.machine.leases.lessor
        for lease_id in self._lease_duty.note(lessor, now):
            if lessor.find(lease_id) is None:
                self._cluster.on_expired(lease_id)
        checkers.on_apply(now, self.id, place, command.data)
        checkers.on_state(now, self.id, place, hash((state.hash, state.leases)))

    def _observe(self) -> None:
        checkers, core, now = self._cluster.checkers, self.driver.core, self._clock.now
        self._observe_log()
        term = core.term()
        if core.role() == LEADER and self._seen_leader != term:
            self._seen_leader = term
            checkers.on_leader(now, self.id, term, self.log)
        commit = core.commit_index()
        if commit > self._seen_commit:
            for entry in self.log.between(self._seen_commit, commit):
                checkers.on_commit(now, self.id, term, entry)
            self._seen_commit = commit
            if core.role() == LEADER:
                self._cluster.check_quorum_of_disks(self, commit)

    def _observe_log(self) -> None:
        """Report entries that are new since the last look, however they came."""
        entries, seen = self.log.entries, self._seen_log
        if len(entries) == len(seen) and entries[-1] is seen[-1] and entries[0] is seen[0]:
            return
        offset = entries[0].index - seen[0].index
        for position in range(1, len(entries)):
            old = position + offset
            if 0 <= old < len(seen) and seen[old] is entries[position]:
                continue
            self._cluster.checkers.on_written(
                self._clock.now, self.id, entries[position - 1], entries[position]
            )
        self._seen_log = list(entries)

    def has_durable(self, index: int, term: int) -> bool:
        """Whether the entry, or a state that includes it, would outlive a crash right now."""
        if index <= self.log.base.index:
            return True
        entry = self.log.find(index)
        return entry is not None and entry.term == term and index <= self.log.stable_index
