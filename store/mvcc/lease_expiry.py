"""Deadlines of leases on this member's own clock.

Every member keeps them, because every member applies every grant and keep-alive; only the leader
acts on them. After a change of leader all leases are extended, as etcd does: clients could not
renew while there was no leader. A lease longer than `LONG_LEASE_S` keeps what it had left plus
that much, so that elections cannot keep it alive for ever (etcd reaches this by checkpoints).

Pure: `now` is passed in, in seconds of a monotonic clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from store.mvcc.lessor import LeaseID, Lessor

# Source: etcd, the default interval of lease checkpoints.
LONG_LEASE_S = 300.0
# An expiry that was proposed and did not happen is proposed again. Source: etcd, server/lease.
RETRY_S = 3.0


class LeaseExpiry:
    def __init__(self) -> None:
        self._deadlines: dict[LeaseID, float] = {}
        # (when to look, lease); entries that no longer match `_deadlines` are skipped.
        self._queue: list[tuple[float, LeaseID]] = []
        self._leadership: object = None

    def follow(self, leadership: object, lessor: Lessor, *, grace_s: float, now: float) -> bool:
        """Extend all leases where this leadership is a new one; whether it is.

        Args:
            leadership: term and leader, or None where there is none.
            lessor: the leases.
            grace_s: what is added to each lease's time.
            now: seconds.
        """
        if leadership is None or leadership == self._leadership:
            return False
        self._leadership = leadership
        self.extend_all(lessor, grace_s=grace_s, now=now)
        return True

    def overdue(self, lessor: Lessor, *, now: float, limit: int) -> list[tuple[LeaseID, int]]:
        """Up to `limit` leases to expire, each with the renewal that its deadline counts from."""
        # Deadlines of leases that are gone fall out of the queue only when looked at.
        leases = map(lessor.find, self.expired(now=now, limit=limit))
        return [(lease.id, lease.renewed) for lease in leases if lease is not None]

    def refresh(self, lessor: Lessor, changed: Iterable[LeaseID], *, now: float) -> None:
        """Take note of leases that were granted, renewed or revoked."""
        for lease_id in changed:
            lease = lessor.find(lease_id)
            if lease is None:
                self._deadlines.pop(lease_id, None)
            else:
                self._set(lease_id, now + lease.ttl_s)

    def extend_all(self, lessor: Lessor, *, grace_s: float, now: float) -> None:
        """A leader was elected: give every lease its time again, plus `grace_s`."""
        for lease_id in lessor.ids():
            ttl_s = float(lessor.get(lease_id).ttl_s)
            if ttl_s > LONG_LEASE_S:
                left = self._deadlines.get(lease_id, now + ttl_s) - now
                ttl_s = min(ttl_s, max(left, 0.0) + LONG_LEASE_S)
            self._set(lease_id, now + ttl_s + grace_s)

    def _set(self, lease_id: LeaseID, deadline: float) -> None:
        self._deadlines[lease_id] = deadline
        heapq.heappush(self._queue, (deadline, lease_id))
        if len(self._queue) > 64 + 4 * len(self._deadlines):
            self._queue = [(when, lease) for lease, when in self._deadlines.items()]
            heapq.heapify(self._queue)

    def remaining_s(self, lease_id: LeaseID, *, now: float) -> float:
        """Seconds to live; negative when overdue."""
        return self._deadlines.get(lease_id, now) - now

    def expired(self, *, now: float, limit: int) -> list[LeaseID]:
        """Up to `limit` overdue leases; each is named again after `RETRY_S` if it still is."""
        overdue: list[LeaseID] = []
        while self._queue and self._queue[0][0] <= now and len(overdue) < limit:
            _, lease_id = heapq.heappop(self._queue)
            deadline = self._deadlines.get(lease_id)
            if deadline is None or lease_id in overdue:
                continue
            if deadline <= now:
                overdue.append(lease_id)
        for lease_id in overdue:
            heapq.heappush(self._queue, (now + RETRY_S, lease_id))
        return overdue
