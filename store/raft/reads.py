"""Linearizable reads on their way: waiting for a round, in a round, or for the apply. No I/O.

One round is under way at a time and answers all who came before it began. A round that is lost
(leader gone, message lost) costs its readers time only: they join the next.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from store.raft.engine import LogIndex, NoLeaderError, ProposalDroppedError

WAITING_MAX = 65_536

Done = Callable[[object], None]


@dataclass(slots=True)
class _Reader:
    done: Done
    deadline: float


class Reads:
    """The ReadIndex calls made through this member.

    `done` gets a LogIndex that is applied here, or an EngineError.
    """

    def __init__(self, *, first: int, retry_s: float) -> None:
        """Rounds count from `first`, which each run of a member draws afresh.

        A leader may answer a round that this member began before it crashed; if numbers came
        again, that answer would pass for a newer round's and a read would be stale.
        """
        self._retry_s = retry_s
        self._waiting: list[_Reader] = []
        self._in_round: list[_Reader] = []
        self._number = first
        self._round_term = 0
        self._next_try = 0.0
        self._round_ends = 0.0
        self._confirmed: list[tuple[int, int, list[_Reader]]] = []

    def add(self, deadline: float, done: Done) -> None:
        """Wait for the next round.

        Raises:
            ProposalDroppedError: too many wait already.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise ProposalDroppedError("too many reads are waiting")
        self._waiting.append(_Reader(done, deadline))

    def begin(self, now: float, term: int) -> int:
        """The number of a round to begin now, or 0; `refused` if it cannot be begun."""
        if self._in_round and (term != self._round_term or now >= self._round_ends):
            self._again()
        if not self._waiting or self._in_round or now < self._next_try:
            return 0
        self._in_round, self._waiting = self._waiting, []
        self._number += 1
        self._round_term = term
        self._round_ends = now + 10 * self._retry_s
        return self._number

    def confirmed(self, now: float, number: int, index: int, applied: int) -> None:
        """Round `number` ended with `index`; 0: it failed."""
        if number != self._number or not self._in_round:
            return
        if not index:
            self.refused(now, number)
            return
        readers, self._in_round = self._in_round, []
        heapq.heappush(self._confirmed, (index, number, readers))
        self.applied(applied)

    def refused(self, now: float, number: int) -> None:
        if number == self._number and self._in_round:
            self._again()
            self._next_try = now + self._retry_s

    def applied(self, index: int) -> None:
        """Answer those whose index is now applied here."""
        while self._confirmed and self._confirmed[0][0] <= index:
            confirmed, _, readers = heapq.heappop(self._confirmed)
            for reader in readers:
                reader.done(LogIndex(confirmed))

    def expire(self, now: float, missing: Sequence[int]) -> None:
        late = [reader for reader in self._readers() if reader.deadline <= now]
        if not late:
            return
        self._waiting = [reader for reader in self._waiting if reader.deadline > now]
        self._in_round = [reader for reader in self._in_round if reader.deadline > now]
        for _, _, readers in self._confirmed:
            readers[:] = [reader for reader in readers if reader.deadline > now]
        for reader in late:
            reader.done(NoLeaderError(missing))  # type: ignore[arg-type]

    def next_wakeup(self) -> float:
        """When a retry or a deadline is due."""
        times = [reader.deadline for reader in (*self._waiting[:1], *self._in_round[:1])]
        times += [readers[0].deadline for _, _, readers in self._confirmed if readers]
        if self._in_round:
            times.append(self._round_ends)
        elif self._waiting:
            times.append(self._next_try)
        return min(times, default=float("inf"))

    def _again(self) -> None:
        # They came earlier than those who wait already.
        self._waiting = self._in_round + self._waiting
        self._in_round = []

    def _readers(self) -> list[_Reader]:
        confirmed = [reader for _, _, readers in self._confirmed for reader in readers]
        return self._waiting + self._in_round + confirmed
