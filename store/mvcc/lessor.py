"""Leases as replicated state: who holds which keys, and when each was last renewed.

"When" is a log index, never a time: members agree on the log, not on clocks. Time lives in
`lease_expiry`, on every member for itself; the leader proposes to expire a lease together with the
renewal it knows of, and a renewal that came first in the log makes that proposal void. So a
keep-alive that was answered is never overtaken by an expiry that had been decided before it.

Source: etcd v3 API, Lease.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NewType

from store.figures import FIGURES
from store.mvcc.errors import LeaseExistsError, LeaseNotFoundError, LeaseTtlTooLargeError

LeaseID = NewType("LeaseID", int)

# Source: etcd, server/lease (MaxLeaseTTL).
LEASE_TTL_S_MAX = 9_000_000_000

# TTL in seconds, log index of the last renewal.
_STORED = struct.Struct(">qQ")


@dataclass(slots=True)
class Lease:
    id: LeaseID
    ttl_s: int
    # Log index of the grant or of the last keep-alive.
    renewed: int
    keys: set[bytes] = field(default_factory=set)

    def encode(self) -> bytes:
        return _STORED.pack(self.ttl_s, self.renewed)


class Lessor:
    """All leases of the store."""

    def __init__(self) -> None:
        self._leases: dict[LeaseID, Lease] = {}
        # The lease of each key that has one.
        self._lease_of: dict[bytes, Lease] = {}
        # Leases granted, renewed or revoked since the shell last asked.
        self._changed: list[LeaseID] = []

    @classmethod
    def load(cls, stored: Mapping[int, bytes], attached: Iterable[tuple[bytes, int]]) -> Lessor:
        """Rebuild from stored leases and `(key, lease id)` of the living keys that have one."""
        lessor = cls()
        for number, data in stored.items():
            ttl_s, renewed = _STORED.unpack(data)
            lessor._leases[LeaseID(number)] = Lease(LeaseID(number), ttl_s, renewed)
            lessor._changed.append(LeaseID(number))
        for key, number in attached:
            lessor.attach(number, key)
        return lessor

    def find(self, lease_id: int) -> Lease | None:
        return self._leases.get(LeaseID(lease_id))

    def get(self, lease_id: int) -> Lease:
        """Raises LeaseNotFoundError."""
        lease = self._leases.get(LeaseID(lease_id))
        if lease is None:
            raise LeaseNotFoundError
        return lease

    def ids(self) -> list[LeaseID]:
        return sorted(self._leases)

    def grant(self, lease_id: int, ttl_s: int, *, index: int) -> Lease:
        """Raises LeaseExistsError, LeaseTtlTooLargeError, LeaseNotFoundError (id 0)."""
        if lease_id == 0:
            raise LeaseNotFoundError
        if ttl_s > LEASE_TTL_S_MAX:
            raise LeaseTtlTooLargeError
        if LeaseID(lease_id) in self._leases:
            raise LeaseExistsError
        FIGURES.leases_granted += 1
        FIGURES.lease_ttl_s.observe(ttl_s)
        lease = Lease(LeaseID(lease_id), ttl_s, index)
        self._leases[lease.id] = lease
        self._changed.append(lease.id)
        return lease

    def renew(self, lease_id: int, *, index: int) -> Lease:
        """Raises LeaseNotFoundError."""
        lease = self.get(lease_id)
        FIGURES.leases_renewed += 1
        lease.renewed = index
        self._changed.append(lease.id)
        return lease

    def remove(self, lease_id: int) -> None:
        """Forget the lease; its keys are the caller's to delete first."""
        del self._leases[LeaseID(lease_id)]
        FIGURES.leases_revoked += 1
        self._changed.append(LeaseID(lease_id))

    def attach(self, lease_id: int, key: bytes) -> None:
        """Tie `key` to a lease; a lease that is gone has no keys to look after."""
        lease = self._leases.get(LeaseID(lease_id))
        if lease is not None:
            lease.keys.add(key)
            self._lease_of[key] = lease

    def detach(self, keys: Iterable[bytes]) -> None:
        """Untie what is tied of `keys`."""
        lease_of = self._lease_of
        if lease_of:
            for key in keys:
                lease = lease_of.pop(key, None)
                if lease is not None:
                    lease.keys.remove(key)

    def take_changed(self) -> list[LeaseID]:
        """Leases whose deadline the shell must look at anew; each call returns only news."""
        changed, self._changed = self._changed, []
        return changed
