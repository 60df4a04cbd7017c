"""Proposals on their way: queued here, sent to the leader of a term, or answered. No I/O.

A proposal is sent for one term only: the leader of another term refuses it. So once an entry of a
later term is applied here, what was sent earlier and is not applied never will be, and goes back
to the queue. That is what makes proposing over a change of leader exactly-once.

A connection that breaks may swallow what was sent on it, while the leader stays. So the leader is
asked with a fence where its log ends behind all that was sent before: what is not applied by then
was lost on the way, and goes back to the queue too.

Only a proposal that runs out of time while it is sent, or over which a snapshot jumped, has an
unknown outcome.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from store.raft.engine import NoLeaderError, ProposalDroppedError, UnknownOutcomeError
from store.raft.messages import Proposal
from store.raft.packing import OVERHEAD_BYTES

# Proposals of one member that wait for an answer; more are refused.
WAITING_MAX = 16_384
WAITING_BYTES_MAX = 64 << 20
# Proposals are packed into entries of about this size; one larger proposal has its own.
PACKED_BYTES = 512 << 10

Done = Callable[[object], None]


@dataclass(slots=True)
class _Waiter:
    data: bytes
    done: Done
    deadline: float
    # The term it was sent for; 0 while it is queued here and in no log.
    term: int = 0
    # The fence that was put behind it since it was sent last; 0: none.
    fence: int = 0


class Proposals:
    """The proposals made through this member. `done` gets the result, or an EngineError."""

    def __init__(self, session: int) -> None:
        self._session = session
        # Drawn afresh too, so that a late refusal meant for an earlier run meets no one.
        self._sequence = session >> 1
        self._waiters: dict[int, _Waiter] = {}
        self._queue: deque[int] = deque()
        self._bytes = 0
        # The newest fence, and where it says that the leader's log ended; 0: no answer yet. Its
        # number is drawn afresh, so that a late answer to an earlier run meets no one.
        self._fence = session >> 2
        self._fence_index = 0

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def queued(self) -> bool:
        return bool(self._queue)

    def add(self, data: bytes, deadline: float, done: Done) -> int:
        """Queue a proposal; returns the number by which `abandon` knows it.

        Raises:
            ProposalDroppedError: too many wait already.
        """
        if len(self._waiters) >= WAITING_MAX or self._bytes + len(data) > WAITING_BYTES_MAX:
            raise ProposalDroppedError("too many proposals are waiting")
        self._sequence += 1
        self._waiters[self._sequence] = _Waiter(data, done, deadline)
        self._queue.append(self._sequence)
        self._bytes += len(data)
        return self._sequence

    def abandon(self, sequence: int) -> None:
        """The caller is gone: what is queued is dropped, what is sent may still be applied."""
        waiter = self._waiters.pop(sequence, None)
        if waiter is not None:
            self._bytes -= len(waiter.data)

    def send(self, term: int) -> list[Proposal]:
        """The next proposals for one entry, now on their way to the leader of `term`."""
        taken: list[Proposal] = []
        size = 0
        while self._queue and (not taken or size < PACKED_BYTES):
            waiter = self._waiters.get(self._queue[0])
            if waiter is not None:
                size += len(waiter.data) + OVERHEAD_BYTES
                if taken and size > PACKED_BYTES:
                    break
                waiter.term, waiter.fence = term, 0
                taken.append(Proposal(self._session, self._queue[0], waiter.data))
            self._queue.popleft()
        return taken

    def applied(self, proposal: Proposal, result: object) -> None:
        """An entry that holds `proposal` was applied here; whose it is does not matter."""
        if proposal.session == self._session:
            self._finish(proposal.sequence, result)

    def term_applied(self, term: int) -> None:
        """The first entry of `term` was applied here."""
        self._requeue(
            sequence for sequence, waiter in self._waiters.items() if 0 < waiter.term < term
        )

    def refused(self, sequences: Iterable[int], term: int) -> None:
        """The leader of `term` did not append these."""
        self._requeue(
            sequence
            for sequence in sequences
            if (waiter := self._waiters.get(sequence)) is not None and waiter.term == term
        )

    def oldest_sent(self, term: int) -> float:
        """The deadline of the oldest proposal on its way to the leader of `term`; or infinity."""
        for waiter in self._waiters.values():
            if waiter.term == term:
                return waiter.deadline
        return float("inf")

    def fence(self, term: int, *, anew: bool) -> int:
        """The number of a fence behind all that is on its way to the leader of `term`.

        Args:
            anew: do not ask once more with the last number, which only what was sent before the
                first time is behind.
        """
        waiting = any(waiter.fence == self._fence for waiter in self._waiters.values())
        if waiting and not anew and not self._fence_index:
            return self._fence
        self._fence += 1
        self._fence_index = 0
        for waiter in self._waiters.values():
            if waiter.term == term:
                waiter.fence = self._fence
        return self._fence

    def fence_answered(self, number: int, index: int) -> None:
        """The leader has put what came before fence `number` at `index` or below, or nowhere."""
        if number == self._fence:
            self._fence_index = index

    def reached(self, index: int) -> None:
        """All up to `index` was applied here, one by one."""
        if 0 < self._fence_index <= index:
            self._fence_index = 0
            self._requeue(
                sequence
                for sequence, waiter in self._waiters.items()
                if waiter.fence == self._fence and waiter.term
            )

    def jumped(self) -> None:
        """A snapshot took the place of entries that were not applied here one by one."""
        sent = [sequence for sequence, waiter in self._waiters.items() if waiter.term]
        for sequence in sent:
            self._finish(sequence, UnknownOutcomeError())

    def expire(self, now: float, missing: Sequence[int]) -> None:
        """Give up on those whose deadline has passed; `missing` are peers that do not answer."""
        late = [sequence for sequence, waiter in self._waiters.items() if waiter.deadline <= now]
        for sequence in late:
            self._finish(sequence, self._failure(self._waiters[sequence], missing))

    def fail_all(self, missing: Sequence[int] = ()) -> None:
        """This member stops."""
        for sequence in list(self._waiters):
            self._finish(sequence, self._failure(self._waiters[sequence], missing))
        self._queue.clear()

    def next_deadline(self) -> float:
        """The earliest deadline; all are the same time away, so that is the oldest one's."""
        for waiter in self._waiters.values():
            return waiter.deadline
        return float("inf")

    def _failure(self, waiter: _Waiter, missing: Sequence[int]) -> Exception:
        if waiter.term:
            return UnknownOutcomeError(missing)  # type: ignore[arg-type]
        return NoLeaderError(missing)  # type: ignore[arg-type]

    def _requeue(self, sequences: Iterable[int]) -> None:
        again = list(sequences)
        for sequence in again:
            self._waiters[sequence].term = self._waiters[sequence].fence = 0
        self._queue.extendleft(reversed(again))

    def _finish(self, sequence: int, result: object) -> None:
        waiter = self._waiters.pop(sequence, None)
        if waiter is not None:
            self._bytes -= len(waiter.data)
            waiter.done(result)
