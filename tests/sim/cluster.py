"""A simulated cluster: members on their disks, joined by the network, watched by the checkers."""

from __future__ import annotations

import random
from collections.abc import Callable

from store.raft.driver import Options
from store.raft.hardened import LEADER
from store.raft.log import LogImage
from store.raft.messages import InstallSnapshot, Message
from store.raft.wal import Identity, open_wal
from tests.sim.checkers import Checkers
from tests.sim.clock import Clock
from tests.sim.disk import Disk, State, VirtualDirectory
from tests.sim.member import CLUSTER_ID, OPTIONS, SEGMENT_BYTES, CrashError, Member
from tests.sim.network import Network

__all__ = ["Cluster", "CrashError"]


class Cluster:
    """See the module docstring. `crash_chance` is that of each place in a step."""

    def __init__(
        self,
        rng: random.Random,
        *,
        ids: list[int],
        voters: list[int],
        latency: float,
        options: Options = OPTIONS,
    ) -> None:
        self.rng = rng
        self.ids = ids
        self.options = options
        self.clock = Clock()
        self.checkers = Checkers()
        self.crash_chance = 0.0
        self.members: dict[int, Member] = {}
        self.crashes = 0
        self.snapshots = 0
        self.on_expired: Callable[[int], None] = lambda _: None
        self.network = Network(self.clock, rng, ids, latency=latency, deliver=self._deliver)
        self._voters = {member: f"sim://{member}" for member in voters}
        self._disks = {member: Disk(VirtualDirectory(f"sim-{member}")) for member in ids}
        self._images: dict[int, LogImage] = {}
        self._apart: set[tuple[int, int]] = set()

    # ---- members

    def start(self, member: int) -> None:
        if member in self.members:
            return
        # One that joins later knows nobody; the log or a snapshot tells it.
        voters = dict(self._voters) if member in self._voters else {}
        self.members[member] = Member(self, member, self._disks[member], voters)
        for other in self.ids:
            if other != member:
                self._redial(member, other)
                self._redial(other, member)

    def crash(self, member: int, *, restart: bool = False) -> None:
        victim = self.members.pop(member, None)
        if victim is None:
            return
        self.crashes += 1
        victim.crash()
        identity = Identity(CLUSTER_ID, member)
        _, self._images[member] = open_wal(
            self._disks[member].wal, identity, {}, segment_bytes=SEGMENT_BYTES
        )
        for other in self.ids:
            if other != member:
                self.cut(member, other)
                self.cut(other, member)
        if restart:
            self.clock.after(0.02 + self.rng.random(), lambda: self.start(member))

    def crashes_here(self) -> bool:
        return self.crash_chance > 0 and self.rng.random() < self.crash_chance

    def leaders(self) -> list[Member]:
        return [
            member
            for member in self.members.values()
            if member.driver.core.role() == LEADER and member.paused_until <= self.clock.now
        ]

    # ---- connections

    def cut(self, sender: int, receiver: int) -> None:
        """Break a connection; it is dialled again soon."""
        if not self.network.connected(sender, receiver):
            return
        self.network.disconnect(sender, receiver)
        if sender in self.members:
            self.members[sender].disconnected(receiver)
        self._redial(sender, receiver)

    def part(self, sender: int, receiver: int) -> None:
        """Break a connection until `join`."""
        self._apart.add((sender, receiver))
        self.cut(sender, receiver)

    def join(self, sender: int, receiver: int) -> None:
        self._apart.discard((sender, receiver))
        self._redial(sender, receiver)

    def join_all(self) -> None:
        for sender, receiver in sorted(self._apart):
            self.join(sender, receiver)

    def snapshot_arrives(
        self, sender: int, receiver: int, head: InstallSnapshot, state: State
    ) -> None:
        if receiver in self.members and self.network.connected(sender, receiver):
            self.members[receiver].take_snapshot(sender, head, state)

    def _redial(self, sender: int, receiver: int) -> None:
        self.clock.after(0.005 + self.rng.random() * 0.15, lambda: self._dial(sender, receiver))

    def _dial(self, sender: int, receiver: int) -> None:
        both_up = sender in self.members and receiver in self.members
        apart = (sender, receiver) in self._apart
        if both_up and not apart and not self.network.connected(sender, receiver):
            self.network.connect(sender, receiver)
            self.members[sender].connected(receiver)

    def _deliver(self, sender: int, receiver: int, message: Message) -> None:
        if receiver in self.members:
            self.members[receiver].receive(sender, message)

    # ---- what only all disks together show

    def check_quorum_of_disks(self, leader: Member, index: int) -> None:
        """What a leader calls committed is durable on a majority of its voters, right now."""
        if index <= leader.log.base.index:
            return
        term = leader.log.get(index).term
        voters = leader.driver.core.voters()
        holders = [voter for voter in voters if self._has_durable(voter, index, term)]
        if 2 * len(holders) <= len(voters):
            self.checkers.fail(
                "committed without a quorum of disks", self.clock.now, leader.id, index, holders
            )

    def _has_durable(self, member: int, index: int, term: int) -> bool:
        if member in self.members:
            return self.members[member].has_durable(index, term)
        image = self._images.get(member)
        if image is None:
            return False
        if index <= image.base.index:
            return True
        offset = index - image.base.index - 1
        return offset < len(image.entries) and image.entries[offset].term == term
