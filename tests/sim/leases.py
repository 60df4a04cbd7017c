"""Leases in the simulation: production's lessor, its commands and deadlines, and a client of them.

The client grants leases, renews each for a while through any member, then leaves it to expire.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from kubraft.pb.etcdserverpb.rpc_pb2 import (
    LeaseCheckpoint,
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
)
from store.mvcc import lease
from store.mvcc.errors import MvccError
from store.mvcc.lease_expiry import LeaseExpiry
from store.mvcc.lessor import LeaseID, Lessor
from store.raft.engine import EngineError, ProposalDroppedError, Role

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.member import Member

MARK = b"lease "
_COMMAND = struct.Struct("<6scqqQ")
_GRANT, _KEEP, _EXPIRE = b"g", b"k", b"e"
POLL_S = 0.5

Stored = tuple[tuple[int, bytes], ...]


def _command(kind: bytes, lease_id: int, number: int, nonce: int = 0) -> bytes:
    return _COMMAND.pack(MARK, kind, lease_id, number, nonce)


class _NoBackend:
    def set_lease(self, lease_id: int, value: bytes | None) -> None:
        pass


class Leases:
    """The lease part of a state machine; stands in for `MvccStore`, without keys."""

    def __init__(self, stored: Stored) -> None:
        self.lessor = Lessor.load(dict(stored), ())
        self.revision = 1
        self.backend = _NoBackend()

    def save_lease(self, held: Any) -> None:
        """What is stored is taken from the lessor as a whole."""

    def stored(self) -> Stored:
        held = map(self.lessor.get, self.lessor.ids())
        return tuple((one.id, one.encode()) for one in held)

    def apply(self, data: bytes, index: int) -> object:
        """The reply, or the error that a client gets."""
        _, kind, lease_id, number, _ = _COMMAND.unpack(data)
        store: Any = self
        try:
            if kind == _GRANT:
                return lease.grant(store, LeaseGrantRequest(ID=lease_id, TTL=number), index=index)
            if kind == _KEEP:
                return lease.keep_alive(store, LeaseKeepAliveRequest(ID=lease_id), index=index)
            assert kind == _EXPIRE
            return lease.expire(store, LeaseCheckpoint(ID=lease_id, remaining_TTL=number))
        except MvccError as error:
            return error


class LeaseDuty:
    """What the housekeeping of a member does about leases, on virtual time."""

    def __init__(self, member: Member, *, election_s: float) -> None:
        self._member = member
        self._election_s = election_s
        self._expiry = LeaseExpiry()
        self._count = 0

    def note(self, lessor: Lessor, now: float) -> list[LeaseID]:
        """After every apply and install; the leases that changed."""
        changed = lessor.take_changed()
        self._expiry.refresh(lessor, changed, now=now)
        return changed

    def step(self, now: float) -> None:
        """Twice a second."""
        driver, lessor = self._member.driver, self._member.machine.leases.lessor
        status = driver.status()
        leadership = None if status.leader is None else (status.term, status.leader)
        self._expiry.follow(leadership, lessor, grace_s=self._election_s, now=now)
        if status.role is not Role.LEADER:
            return
        for lease_id, renewed in self._expiry.overdue(lessor, now=now, limit=100):
            self._count += 1
            nonce = self._member.id << 56 | status.term << 24 | self._count
            try:
                driver.propose(now, _command(_EXPIRE, lease_id, renewed, nonce), lambda _: None)
            except ProposalDroppedError:
                return
        self._member.kick()


@dataclass
class _Held:
    ttl_s: int
    # When the last request that was answered was made; it is renewed until `until`.
    renewed_at: float
    until: float


class LeaseClient:
    """Uses leases of `cluster` until `stop`; `check` tells what became of them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._rng = cluster.rng
        self._held: dict[int, _Held] = {}
        self._count = 0
        self._stopped = False
        self.granted = 0
        self.expired = 0
        cluster.on_expired = self._on_expired

    def begin(self) -> None:
        self._cluster.clock.after(self._rng.random(), self._grant)

    def stop(self) -> None:
        self._stopped = True

    def check(self) -> None:
        """Long after `stop`, no lease is left."""
        left = {m.id: m.machine.leases.lessor.ids() for m in self._cluster.members.values()}
        if any(left.values()):
            self._cluster.checkers.fail("lease never expires", self._cluster.clock.now, left)

    def _grant(self) -> None:
        if self._stopped:
            return
        self._cluster.clock.after(self._rng.random() * 0.8, self._grant)
        self._count += 1
        lease_id, ttl_s = self._count, self._rng.choice((1, 1, 2))
        now = self._cluster.clock.now
        held = _Held(ttl_s, now, now + self._rng.random() * 5.0)
        self._propose(_command(_GRANT, lease_id, ttl_s), partial(self._granted, lease_id, held))

    def _granted(self, lease_id: int, held: _Held, asked_at: float, result: object) -> None:
        if isinstance(result, Exception):
            return
        held.renewed_at = asked_at
        self._held[lease_id] = held
        self.granted += 1
        self._renew(lease_id)

    def _renew(self, lease_id: int) -> None:
        held, now = self._held.get(lease_id), self._cluster.clock.now
        if held is None or self._stopped or now > held.until:
            return
        self._count += 1
        data = _command(_KEEP, lease_id, 0, self._count)
        self._propose(data, partial(self._renewed, lease_id))
        self._cluster.clock.after(
            held.ttl_s * self._rng.uniform(0.2, 1.1), partial(self._renew, lease_id)
        )

    def _renewed(self, lease_id: int, asked_at: float, result: object) -> None:
        if lease_id in self._held and not isinstance(result, Exception):
            held = self._held[lease_id]
            held.renewed_at = max(held.renewed_at, asked_at)

    def _propose(self, data: bytes, done: Any) -> None:
        running = list(self._cluster.members.values())
        if not running:
            return
        member, now = self._rng.choice(running), self._cluster.clock.now
        try:
            member.driver.propose(now, data, partial(done, now))
        except EngineError:
            return
        member.kick()

    def _on_expired(self, lease_id: int) -> None:
        """Called when a member applies the end of a lease; the first one counts."""
        held, now = self._held.pop(lease_id, None), self._cluster.clock.now
        if held is None:
            return
        self.expired += 1
        if now < held.renewed_at + held.ttl_s:
            self._cluster.checkers.fail("lease expired early", now, lease_id, held)
