"""Changes of membership on their way: asked of the leader, then waiting for their apply. No I/O.

A change is asked for once. It is refused by the leader, or appended and seen applied here, or its
outcome is unknown; whoever asked decides what to try next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from store.raft.engine import (
    EngineError,
    LearnerNotReadyError,
    NoLeaderError,
    ProposalDroppedError,
    StaleChangeError,
    UnknownOutcomeError,
)

WAITING_MAX = 64

# What a leader answers in place of an index. Numbers are for ever: they travel.
STALE = 1
NOT_READY = 2

Done = Callable[[object], None]


@dataclass(slots=True)
class _Waiter:
    done: Done
    deadline: float
    # Where the leader has put it; 0 until it says so.
    index: int = 0
    term: int = 0


class Changes:
    """The changes asked for through this member. `done` gets None, or an EngineError."""

    def __init__(self, first: int) -> None:
        """Numbers count from `first`, drawn afresh, so that a late answer meets no one."""
        self._number = first
        self._waiters: dict[int, _Waiter] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    def add(self, deadline: float, done: Done) -> int:
        """Returns the number under which the leader is to answer.

        Raises:
            ProposalDroppedError: too many wait already.
        """
        if len(self._waiters) >= WAITING_MAX:
            raise ProposalDroppedError("too many changes of membership are waiting")
        self._number += 1
        self._waiters[self._number] = _Waiter(done, deadline)
        return self._number

    def refused(self, number: int, cause: int) -> None:
        error = LearnerNotReadyError() if cause == NOT_READY else StaleChangeError()
        self._finish(number, error)

    def unreachable(self, number: int, missing: Sequence[int]) -> None:
        """There is no leader to ask."""
        self._finish(number, NoLeaderError(missing))  # type: ignore[arg-type]

    def appended(self, number: int, index: int, term: int, found: int) -> None:
        """The leader of `term` appended it at `index`.

        Args:
            found: the term of the entry at `index` where that is applied here already; 0 where
                it is still to come, -1 where it is not kept any more.
        """
        waiter = self._waiters.get(number)
        if waiter is None or waiter.index:
            return
        waiter.index, waiter.term = index, term
        if found:
            self._finish(number, None if found == term else UnknownOutcomeError())

    def applied(self, index: int, term: int) -> None:
        """The entry at `index` was applied here."""
        for number, waiter in list(self._waiters.items()):
            if waiter.index == index:
                # Another entry in its place: the one that was meant is gone for good.
                self._finish(number, None if waiter.term == term else StaleChangeError())

    def jumped(self) -> None:
        """A snapshot took the place of entries that were not applied here one by one."""
        for number, waiter in list(self._waiters.items()):
            if waiter.index:
                self._finish(number, UnknownOutcomeError())

    def expire(self, now: float, missing: Sequence[int]) -> None:
        for number, waiter in list(self._waiters.items()):
            if waiter.deadline <= now:
                self._finish(number, UnknownOutcomeError(missing))  # type: ignore[arg-type]

    def next_deadline(self) -> float:
        return min((waiter.deadline for waiter in self._waiters.values()), default=float("inf"))

    def _finish(self, number: int, result: EngineError | None) -> None:
        waiter = self._waiters.pop(number, None)
        if waiter is not None:
            waiter.done(result)
