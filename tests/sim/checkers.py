"""Raft's guarantees, checked after every step over all members. Pure bookkeeping.

Each violation has a name: which guarantee broke. Source: Raft paper, figure 3, and section 8.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass, field

from store.raft.log import Log
from store.raft.messages import Entry

COMPLETENESS_DEPTH = 300


def chain(value: int, data: bytes) -> int:
    """A hash of everything up to and with `data`; the same in every process."""
    return zlib.crc32(data, value) | (zlib.adler32(data, value & 0xFFFF | 1) << 32)


@dataclass(frozen=True)
class Violation:
    kind: str
    time: float
    detail: str


@dataclass
class Checkers:
    """See the module docstring."""

    violations: list[Violation] = field(default_factory=list)
    leaders: dict[int, int] = field(default_factory=dict)
    # (index, term) of every entry ever written, with its data and the term before it.
    written: dict[tuple[int, int], tuple[bytes, int]] = field(default_factory=dict)
    # What was first seen committed at an index: term, data, and the leader's term then.
    committed: dict[int, tuple[int, bytes, int]] = field(default_factory=dict)
    committed_max: int = 0
    applied: dict[tuple[int, int], bytes] = field(default_factory=dict)
    history: Counter[bytes] = field(default_factory=Counter)
    hashes: dict[tuple[int, int], int] = field(default_factory=dict)
    acknowledged: set[bytes] = field(default_factory=set)
    # Highest index whose command was acknowledged to a client.
    acknowledged_max: int = 0
    reads: int = 0

    def fail(self, kind: str, now: float, *detail: object) -> None:
        if all(violation.kind != kind for violation in self.violations):
            self.violations.append(Violation(kind, round(now, 4), repr(detail)))

    # ---- called by the cluster

    def on_written(self, now: float, member: int, before: Entry, entry: Entry) -> None:
        """Log Matching: an index and a term name one entry and all before it."""
        key = (entry.index, entry.term)
        known = self.written.setdefault(key, (entry.data, before.term))
        if known != (entry.data, before.term):
            self.fail("log matching", now, member, key)

    def on_leader(self, now: float, member: int, term: int, log: Log) -> None:
        """Election Safety and Leader Completeness."""
        if self.leaders.setdefault(term, member) != member:
            self.fail("election safety", now, term, self.leaders[term], member)
        lowest = max(log.base.index, self.committed_max - COMPLETENESS_DEPTH)
        for index in range(self.committed_max, lowest, -1):
            known = self.committed.get(index)
            if known is None or known[2] >= term:
                continue
            entry = log.find(index)
            if entry is None or (entry.term, entry.data) != known[:2]:
                self.fail("leader completeness", now, member, term, index)
                return

    def on_commit(self, now: float, member: int, term: int, entry: Entry) -> None:
        """Committed means: the same on all members, for ever."""
        known = self.committed.setdefault(entry.index, (entry.term, entry.data, term))
        self.committed_max = max(self.committed_max, entry.index)
        if known[:2] != (entry.term, entry.data):
            self.fail("commit conflict", now, member, entry.index)

    def on_apply(self, now: float, member: int, place: tuple[int, int], data: bytes) -> None:
        """State Machine Safety, and each command once."""
        if place not in self.applied:
            self.applied[place] = data
            self.history[data] += 1
            if self.history[data] > 1:
                self.fail("applied twice", now, member, place, data)
        elif self.applied[place] != data:
            self.fail("state machine safety", now, member, place)

    def on_state(self, now: float, member: int, place: tuple[int, int], value: int) -> None:
        if self.hashes.setdefault(place, value) != value:
            self.fail("states diverged", now, member, place)

    def on_acknowledged(self, now: float, data: bytes, index: int) -> None:
        self.acknowledged.add(data)
        self.acknowledged_max = max(self.acknowledged_max, index)
        if not self.history[data]:
            self.fail("acknowledged, not applied", now, data)

    def on_read(self, now: float, member: int, floor: int, index: int, applied: int) -> None:
        """A read sees all that was acknowledged before it began."""
        self.reads += 1
        if index < floor or applied < index:
            self.fail("stale read", now, member, floor, index, applied)

    def at_the_end(self, now: float) -> None:
        for data in self.acknowledged:
            if self.history[data] != 1:
                self.fail("acknowledged write lost", now, data)
