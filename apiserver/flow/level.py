"""One priority level at work: its seats, and the queues of those who wait for one.

Queues take turns by virtual time: each has the time at which its next request would start if all
queues were served at once, and the least goes first. What a request has really cost moves its
queue's time on, so that a flow of slow requests gets no more than one of quick ones. A flow is
dealt a hand of queues, and waits in the emptiest: a greedy flow fills its own hand, and hardly
another flow has the same one.

Source: KEP-1040, "fair queuing for server requests" and "shuffle sharding".
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from kubraft.api.errors import TooManyRequestsError

# What a request is taken to cost until it is over. Source: KEP-1040.
COST_S_GUESSED: Final = 0.003
RETRY_AFTER_S: Final = 1
MESSAGE: Final = "too many requests, please try again later"


@dataclass(frozen=True, slots=True)
class LevelConfig:
    """`seats` None is an exempt level; `queues` 0 rejects who finds no seat.

    `lendable` are those of the seats that other levels may use while they are free here.
    """

    name: str
    uid: str = ""
    seats: int | None = None
    lendable: int = 0
    queues: int = 0
    hand: int = 0
    queue_length_max: int = 0


@dataclass(slots=True, eq=False)
class _Waiter:
    width: int
    future: asyncio.Future[None]
    served: bool = False


@dataclass(slots=True, eq=False)
class Queue:
    """`start_s` is the virtual time at which its next request starts."""

    start_s: float = 0.0
    waiters: deque[_Waiter] = field(default_factory=deque)


class Level:
    """Seats and queues; used by one event loop.

    `spare` answers how many seats other levels can lend now.
    """

    def __init__(self, config: LevelConfig, spare: Callable[[Level], int]) -> None:
        self.config = config
        self._spare = spare
        self._queues = [Queue() for _ in range(config.queues)]
        self._busy: list[Queue] = []  # those in which somebody waits
        self._virtual_s = 0.0
        self.in_use = 0
        self.waiting = 0
        self.dispatched = 0
        self.rejected: dict[str, int] = {}

    def reconfigure(self, config: LevelConfig) -> None:
        """Take over other figures; who waits keeps its place."""
        self._queues += [Queue() for _ in range(config.queues - len(self._queues))]
        self.config = config
        self._dispatch()

    def take(self, width: int) -> bool:
        """Seats for one request, if nobody waits and there are any."""
        seats = self.config.seats
        if seats is not None and (self.waiting or not self._has(width)):
            return False
        self.in_use += width
        self.dispatched += 1
        return True

    async def wait(self, flow: str, width: int, timeout_s: float) -> Queue:
        """Wait for seats; to be called after `take` had none.

        Raises:
            TooManyRequestsError: there is no room to wait, or it took too long.
        """
        if not self.config.queues:
            raise self._refused("concurrency-limit")
        queue = self._choose(flow)
        if len(queue.waiters) >= self.config.queue_length_max:
            raise self._refused("queue-full")
        waiter = _Waiter(width, asyncio.get_running_loop().create_future())
        if not queue.waiters:
            queue.start_s = max(queue.start_s, self._virtual_s)
            self._busy.append(queue)
        queue.waiters.append(waiter)
        self.waiting += 1
        self._dispatch()
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.future
        except TimeoutError:
            if waiter.served:
                return queue  # the seat came at the last moment
            self._leave(queue, waiter)
            raise self._refused("time-out") from None
        except asyncio.CancelledError:
            if waiter.served:
                self.give_back(width)
            self._leave(queue, waiter)
            raise
        return queue

    def give_back(self, width: int, queue: Queue | None = None, cost_s: float = 0.0) -> None:
        """The end of a request; `queue` is where it had waited, `cost_s` how long it then ran."""
        self.in_use -= width
        if queue is not None:
            queue.start_s += (cost_s - COST_S_GUESSED) * width
        if self.waiting:
            self._dispatch()

    def _has(self, width: int) -> bool:
        seats = self.config.seats
        if seats is None or self.in_use + width <= seats:
            return True
        if not self.in_use:
            return True  # one that is wider than all seats has its turn too
        return self.in_use + width <= seats + self._spare(self)

    def _dispatch(self) -> None:
        while self._busy:
            queue = min(self._busy, key=_start)
            waiter = queue.waiters[0]
            if waiter.future.done():  # it was cancelled, and does not know yet
                self._leave(queue, waiter)
                continue
            if not self._has(waiter.width):
                return
            self._leave(queue, waiter)
            self._virtual_s = max(self._virtual_s, queue.start_s)
            queue.start_s += COST_S_GUESSED * waiter.width
            # Served again last among equals: min() takes the first of them.
            if queue.waiters:
                self._busy.remove(queue)
                self._busy.append(queue)
            self.in_use += waiter.width
            self.dispatched += 1
            waiter.served = True
            waiter.future.set_result(None)

    def _leave(self, queue: Queue, waiter: _Waiter) -> None:
        """Take a waiter out of its queue, if it is still there."""
        if waiter not in queue.waiters:
            return
        queue.waiters.remove(waiter)
        self.waiting -= 1
        if not queue.waiters:
            self._busy.remove(queue)

    def _choose(self, flow: str) -> Queue:
        hand = deal(flow, self.config.queues, self.config.hand)
        return min((self._queues[index] for index in hand), key=_length)

    def _refused(self, why: str) -> TooManyRequestsError:
        self.rejected[why] = self.rejected.get(why, 0) + 1
        return TooManyRequestsError(MESSAGE, retry_after_s=RETRY_AFTER_S)


def deal(flow: str, deck: int, hand: int) -> list[int]:
    """`hand` different numbers below `deck`, always the same for a flow."""
    left = int.from_bytes(blake2b(flow.encode(errors="surrogatepass"), digest_size=16).digest())
    cards = list(range(deck))
    dealt = []
    for _ in range(min(hand, deck)):
        left, index = divmod(left, len(cards))
        dealt.append(cards.pop(index))
    return dealt


def _start(queue: Queue) -> float:
    return queue.start_s


def _length(queue: Queue) -> int:
    return len(queue.waiters)
