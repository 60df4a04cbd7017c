"""Clients: they write and read through any member, leader or not, and change leader and voters."""

from __future__ import annotations

from collections.abc import Callable

from store.raft.engine import EngineError, ProposalDroppedError
from store.raft.hardened import LEADER
from tests.sim.cluster import Cluster
from tests.sim.member import Member


class Workload:
    """Loads `cluster` until `stop`."""

    def __init__(self, cluster: Cluster, *, transfers: bool, members: bool) -> None:
        self._cluster = cluster
        self._rng = cluster.rng
        self._transfers = transfers
        self._members = members
        self._stopped = False
        self._gap = self._rng.choice((0.02, 0.05, 0.1))
        self.writes = 0
        self.dropped = 0
        self.unknown = 0
        self.changes = 0

    def begin(self) -> None:
        self._later(0.8, self._client)
        if self._members:
            self._later(1.0, self._change_voters)

    def stop(self) -> None:
        self._stopped = True

    def write(self, member: Member, done: Callable[[object], None] | None = None) -> None:
        self.writes += 1
        data = b"%d." % self.writes + b"x" * self._rng.randint(0, 12)
        self._propose(member, data, done or (lambda _: None))

    def _later(self, delay: float, event: Callable[[], None]) -> None:
        self._cluster.clock.after(delay, lambda: None if self._stopped else event())

    def _client(self) -> None:
        rng = self._rng
        self._later(rng.random() * 2 * self._gap, self._client)
        running = [
            member
            for member in self._cluster.members.values()
            if member.paused_until <= self._cluster.clock.now
        ]
        if not running:
            return
        member = rng.choice(running)
        for _ in range(1 if rng.random() < 0.9 else rng.randint(5, 40)):
            self.write(member)
        if rng.random() < 0.4:
            self._read(rng.choice(running))
        if self._transfers and rng.random() < 0.01:
            self._transfer(rng.choice(running))

    def _propose(self, member: Member, data: bytes, done: Callable[[object], None]) -> None:
        def finish(result: object) -> None:
            cluster = self._cluster
            if isinstance(result, int):
                cluster.checkers.on_acknowledged(cluster.clock.now, data, result)
            else:
                self.unknown += 1
            done(result)

        try:
            member.driver.propose(self._cluster.clock.now, data, finish)
        except ProposalDroppedError:
            self.dropped += 1
        member.kick()

    def _read(self, member: Member) -> None:
        cluster = self._cluster
        floor = cluster.checkers.acknowledged_max

        def finish(result: object) -> None:
            if isinstance(result, int):
                applied = max(member.machine.state.index, member.driver.core.applied_index())
                cluster.checkers.on_read(cluster.clock.now, member.id, floor, result, applied)

        member.driver.read_index(cluster.clock.now, finish)
        member.kick()

    def _transfer(self, member: Member) -> None:
        try:
            member.driver.transfer(self._cluster.clock.now, self._rng.choice(self._cluster.ids))
        except EngineError:
            return
        member.kick()

    def _change_voters(self) -> None:
        rng = self._rng
        self._later(rng.random() * 1.2, self._change_voters)
        leaders = [m for m in self._cluster.leaders() if m.driver.core.role() == LEADER]
        if not leaders:
            return
        leader = rng.choice(leaders)
        voters = leader.driver.core.voters()
        for _ in range(rng.choice((1, 1, 2))):
            peer = rng.choice([member for member in self._cluster.ids if member != leader.id])
            if peer in voters and len(voters) <= 2:
                continue
            url = None if peer in voters else f"sim://{peer}"
            self.changes += leader.driver.change_voter(self._cluster.clock.now, peer, url)
        leader.kick()
