"""Figures of this process that are counted where they arise and read by `store.metrics`.

Counting is an addition, or a search among fifteen bounds for a duration; nothing is locked, since
each figure has one writer. They belong to the process, as with every Prometheus client: the disk
and the links of a member know nothing of who reads them. Buckets are etcd's.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Histogram:
    """Durations by upper bound, in seconds unless the name says otherwise."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        # One more than bounds: what is above them all.
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Observe how long it takes to do what is done inside."""
        began = time.perf_counter()
        yield
        self.observe(time.perf_counter() - began)


def doubling(first: float, count: int) -> list[float]:
    return [round(first * 2**step, 6) for step in range(count)]


class CallTally:
    """Calls of one gRPC method."""

    __slots__ = ("codes", "started")

    def __init__(self) -> None:
        self.started = 0
        # By the name of the code as Go prints it.
        self.codes: dict[str, int] = {}

    def end(self, code: str) -> None:
        self.codes[code] = self.codes.get(code, 0) + 1


class Transfers:
    """Snapshots on their way to or from one peer."""

    def __init__(self) -> None:
        self.under_way = self.done = self.failed = 0
        self.took_s = Histogram(doubling(0.1, 10))

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count what is done inside; whatever it raises is a failure."""
        began = time.perf_counter()
        self.under_way += 1
        try:
            yield
        except BaseException:
            self.failed += 1
            raise
        finally:
            self.under_way -= 1
        self.done += 1
        self.took_s.observe(time.perf_counter() - began)


class Figures:
    """All of them; there is one, `FIGURES`."""

    def __init__(self) -> None:
        self.wal_sync_s = Histogram(doubling(0.001, 14))
        self.wal_bytes = 0
        self.flush_s = Histogram(doubling(0.001, 14))
        self.slow_applies = 0
        # By operation and whether it was done.
        self.apply_s: dict[tuple[str, bool], Histogram] = {}
        self.hash_s = Histogram(doubling(0.01, 15))
        self.hash_of_revision_s = Histogram(doubling(0.01, 15))
        self.snapshot_s = Histogram(doubling(0.01, 17))
        self.defragmentation_s = Histogram(doubling(0.1, 13))
        self.defragmenting = self.installing = 0
        self.lease_ttl_s = Histogram(doubling(1, 24))
        self.compacted_records = 0
        self.compacted_at = 0.0
        self.compaction_ms = Histogram(doubling(100, 14))
        self.compaction_step_ms = Histogram(doubling(1, 13))
        self.late_heartbeats = self.slow_reads = 0
        self.promotions = 0
        self.failed_promotions: dict[str, int] = defaultdict(int)
        self.proposals_failed = 0
        self.reads_failed = 0
        self.watch_streams = 0
        self.ranges = self.puts = self.deletes = self.txns = 0
        self.put_bytes = 0
        self.events = 0
        self.leases_granted = self.leases_renewed = self.leases_revoked = self.leases_expired = 0
        self.client_bytes_received = 0
        self.client_bytes_sent = 0
        # By member id.
        self.peer_bytes_sent: dict[int, int] = defaultdict(int)
        self.peer_bytes_received: dict[int, int] = defaultdict(int)
        self.peer_round_trip_s: dict[int, Histogram] = {}
        self.peer_losses: dict[int, int] = defaultdict(int)
        self.snapshots_sent: dict[int, Transfers] = defaultdict(Transfers)
        self.snapshots_received: dict[int, Transfers] = defaultdict(Transfers)
        # By service, method and kind of call.
        self.calls: dict[tuple[str, str, str], CallTally] = {}

    def round_trip(self, peer: int, seconds: float) -> None:
        known = self.peer_round_trip_s.get(peer)
        if known is None:
            known = self.peer_round_trip_s[peer] = Histogram(doubling(0.0001, 16))
        known.observe(seconds)

    def applied(self, operation: str, seconds: float, *, done: bool) -> None:
        known = self.apply_s.get((operation, done))
        if known is None:
            known = self.apply_s[operation, done] = Histogram(doubling(0.0001, 20))
        known.observe(seconds)

    def calls_of(self, service: str, method: str, kind: str) -> CallTally:
        return self.calls.setdefault((service, method, kind), CallTally())


FIGURES = Figures()
