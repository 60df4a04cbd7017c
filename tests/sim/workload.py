"""Clients: they write and read through any member, leader or not, and change leader and voters."""

from __future__ import annotations

from collections.abc import Callable

from store.raft import membership
from store.raft.engine import EngineError, ProposalDroppedError
from tests.sim.cluster import Cluster
from tests.sim.member import Member


class Workload:
    """Loads `cluster` until `stop`."""

    def __init__(
        self, cluster: Cluster, *, transfers: bool, members: bool, learners: bool = False
    ) -> None:
        self._cluster = cluster
        self._rng = cluster.rng
        self._transfers = transfers
        self._members = members
        self._learners = learners
        self._stopped = False
        self._gap = self._rng.choice((0.02, 0.05, 0.1))
        self.writes = 0
        self.dropped = 0
        self.unknown = 0
        self.changes = 0

    def begin(self) -> None:
        self._later(0.8, self._client)
        if self._members:
            self._later(1.0, self._change_members)

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

    def _change_members(self) -> None:
        """Ask any member for one change of what it believes the configuration is."""
        rng = self._rng
        self._later(rng.random() * 1.2, self._change_members)
        running = list(self._cluster.members.values())
        for _ in range(rng.choice((1, 1, 2)) if running else 0):
            member = rng.choice(running)
            before = member.driver.members
            peer = rng.choice(self._cluster.ids)
            place = self._next_place(before, peer)
            if place is not None:
                self._change(member, before, {**before, peer: place})

    def _next_place(self, members: membership.Members, peer: int) -> str | None:
        """Where the life of a member goes on: learner, voter, removed; None: it stays."""
        url = f"sim://{peer}"
        voters = membership.voters(members)
        if peer in membership.learners(members):
            return url if self._rng.random() < 0.8 else membership.REMOVED
        if peer not in voters:
            return membership.as_learner(url) if self._learners else url
        return membership.REMOVED if len(voters) > 2 else None

    def _change(
        self, member: Member, before: membership.Members, after: membership.Members
    ) -> None:
        def finish(result: object) -> None:
            self.changes += result is None

        member.driver.change_members(self._cluster.clock.now, before, after, finish)
        member.kick()
