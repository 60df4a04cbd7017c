"""A core, and a driver with its disk, on a test bench: inputs by hand, effects recorded."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from typing import Any

from store.raft import messages as m
from store.raft.driver import Driver, Options
from store.raft.effects import Timing
from store.raft.hardened import LEADER, Core
from store.raft.log import Base, Batch, Log, LogImage, first_image
from store.raft.membership import REMOVED
from store.raft.messages import Entry
from store.raft.packing import PROPOSALS, pack
from store.raft.wal import Identity, Wal, open_wal
from tests.sim.disk import Disk, State, VirtualDirectory, VirtualStateMachine

TIMING = Timing(
    heartbeat_s=0.1, election_s=0.5, election_s_max=0.75, quorum_s=0.6, append_bytes_max=1 << 20
)
# One member's session in entries that no bench proposed.
STRANGER = 99


def entry(index: int, term: int, data: bytes = b"e") -> Entry:
    """An entry as another leader would have packed it."""
    return Entry(PROPOSALS + pack([m.Proposal(STRANGER, index, data)]), index, term)


def entries(first: int, last: int, term: int) -> tuple[Entry, ...]:
    return tuple(entry(index, term) for index in range(first, last + 1))


def urls(*members: int) -> dict[int, str]:
    return {member: f"sim://{member}" for member in members}


class CoreBench:
    """Member 1 of `voters`, everything it writes durable at once unless `durable` is off."""

    def __init__(
        self,
        *voters: int,
        image: LogImage | None = None,
        applied: int = 1,
        timing: Timing = TIMING,
        durable: bool = True,
    ) -> None:
        self.now = 100.0
        self.sent: list[tuple[int, m.RaftMessage]] = []
        self.applied: list[Entry] = []
        self.wanted: list[int] = []
        self.installs: list[Base] = []
        self.confirmed: list[tuple[Hashable, int]] = []
        self.congested_peers: set[int] = set()
        self._durable = durable
        self.log = Log(image or first_image(urls(*voters)))
        self.core = Core(1, self.log, self, timing, random.Random(1), applied=applied, now=self.now)
        for voter in voters:
            if voter != 1:
                self.core.connected(self.now, voter)

    # ---- Effects

    def send(self, peer: int, message: m.RaftMessage) -> None:
        self.sent.append((peer, message))

    def congested(self, peer: int) -> bool:
        return peer in self.congested_peers

    def snapshot_wanted(self, peer: int) -> None:
        self.wanted.append(peer)

    def committed(self, entries: list[Entry]) -> None:
        self.applied += entries

    def installed(self, base: Base) -> None:
        self.installs.append(base)
        self.log.installed()

    def read_confirmed(self, token: Hashable, index: int) -> None:
        self.confirmed.append((token, index))

    # ---- by hand

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.core.tick(self.now)
        self._persist()

    def receive(self, peer: int, message: m.RaftMessage) -> None:
        self.core.receive(self.now, peer, message)
        self._persist()

    def append(
        self,
        leader: int,
        *,
        term: int,
        prev: tuple[int, int],
        new: Sequence[Entry] = (),
        commit: int = 1,
    ) -> None:
        self.receive(leader, m.Append(term, commit, 0, *prev, tuple(new)))

    def ack(self, peer: int, next_index: int, *, term: int | None = None, round_: int = 0) -> None:
        term = self.core.term() if term is None else term
        self.receive(peer, m.Ack(term, next_index, 0, round_, reset=False, success=True))

    def campaign(self, *voters: int) -> None:
        """Become a candidate, by the pre-votes of `voters`."""
        self.tick(1.0)
        nonce = self.last(m.PreVoteRequest).nonce
        for voter in voters:
            self.receive(voter, m.PreVote(self.core.term(), nonce, granted=True))
        self.tick()

    def lead(self, *voters: int) -> int:
        """Become leader by the votes of `voters`; the new term."""
        self.campaign(*voters)
        for voter in voters:
            self.receive(voter, m.Vote(self.core.term()))
        assert self.core.role() == LEADER
        return self.core.term()

    def propose(self, *commands: bytes) -> None:
        for command in commands:
            data = PROPOSALS + pack([m.Proposal(1, self.log.last_index + 1, command)])
            assert self.core.append(self.now, data)
        self.tick()

    def change_voter(self, peer: int, url: str | None) -> bool:
        """Add a voter, or remove it where `url` is None."""
        members = {**self.core.members(), peer: url or REMOVED}
        return self.core.change_members(self.now, members)

    def last(self, kind: type) -> Any:
        return next(message for _, message in reversed(self.sent) if isinstance(message, kind))

    def to(self, peer: int, kind: type) -> list[Any]:
        return [msg for receiver, msg in self.sent if receiver == peer and isinstance(msg, kind)]

    @property
    def terms(self) -> list[int]:
        """Terms of the log's entries behind the base."""
        return [entry.term for entry in self.log.entries[1:]]

    def _persist(self) -> None:
        if self._durable and self.log.take() is not None:
            self.log.taken_is_durable()


OPTIONS = Options(TIMING, proposal_s=2.0, compact_entries=10, retained_entries=4)


class DriverBench:
    """Member 1 with its driver, WAL and state; nothing becomes durable until `sync`."""

    def __init__(self, *voters: int, disk: Disk | None = None, segment_bytes: int = 400) -> None:
        self.now = 100.0
        self.voters = voters
        self.segment_bytes = segment_bytes
        self.disk = disk or Disk(VirtualDirectory("bench"))
        self.sent: list[tuple[int, m.Message]] = []
        self.wanted: list[int] = []
        self.batch: Batch | None = None
        self.installing: Base | None = None
        self.wal: Wal
        self.driver: Driver
        self.start()

    def start(self) -> None:
        """Recover from the disk, as after a crash."""
        self.disk.wal.power_on()
        self.batch = self.installing = None
        self.sent = []
        self.wal, image = open_wal(
            self.disk.wal,
            Identity(7, 1),
            urls(*self.voters),
            segment_bytes=self.segment_bytes,
        )
        snapshot = self.disk.snapshots.get((image.base.index, image.base.term))
        if snapshot is not None and self.disk.state.index < image.base.index:
            self.disk.state = snapshot
        self.disk.snapshots.clear()
        self.machine = VirtualStateMachine(self.disk, lambda *_: None)
        self.driver = Driver(
            1,
            Log(image),
            self.machine,  # type: ignore[arg-type]  # no files here
            self,
            OPTIONS,
            rng=random.Random(2),
            now=self.now,
        )
        for voter in self.voters:
            if voter != 1:
                self.driver.connected(self.now, voter)

    # ---- Shell

    def persist(self, batch: Batch) -> None:
        self.batch = batch

    def send(self, peer: int, message: m.Message) -> None:
        self.sent.append((peer, message))

    def congested(self, peer: int) -> bool:
        return False

    def stream_snapshot(self, peer: int, term: int) -> None:
        self.wanted.append(peer)

    def streaming(self) -> bool:
        return False

    def install(self, base: Base) -> None:
        self.installing = base

    def discard_snapshot(self, index: int, term: int) -> None:
        self.disk.snapshots.pop((index, term), None)

    def silent_peers(self) -> tuple[int, ...]:
        return tuple(voter for voter in self.voters if voter != 1)

    # ---- by hand

    def advance(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.driver.advance(self.now)

    def receive(self, peer: int, message: m.Message) -> None:
        self.driver.receive(self.now, peer, message)
        self.advance()

    def sync(self) -> None:
        """Complete the batch under way, and what follows from it, until nothing is."""
        while self.write():
            self.finish_install()

    def write(self) -> bool:
        """Complete the batch under way; whether there was one."""
        batch, self.batch = self.batch, None
        if batch is not None:
            self.wal.write(batch.items)
            self.driver.persisted(self.now)
            self.advance()
        return batch is not None

    def finish_install(self) -> None:
        """Let the state machine end its part of an install, where there is one."""
        base, self.installing = self.installing, None
        if base is not None:
            self.machine.install(self.disk.snapshots.pop((base.index, base.term)))
            self.driver.snapshot_installed(self.now)
            self.advance()

    def take_snapshot(self, peer: int, head: m.InstallSnapshot, state: State) -> None:
        self.disk.snapshots[head.index, head.snapshot_term] = state
        self.receive(peer, head)

    def lead(self, *voters: int) -> int:
        self.advance(1.0)
        requests = [msg for _, msg in self.sent if isinstance(msg, m.PreVoteRequest)]
        for voter in voters:
            answer = m.PreVote(self.driver.core.term(), requests[-1].nonce, granted=True)
            self.receive(voter, answer)
        self.sync()
        for voter in voters:
            self.receive(voter, m.Vote(self.driver.core.term()))
        self.sync()
        assert self.driver.core.role() == LEADER
        return self.driver.core.term()

    def of(self, kind: type) -> list[Any]:
        return [message for _, message in self.sent if isinstance(message, kind)]
