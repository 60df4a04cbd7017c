"""A queue of keys for reconcilers: no key twice, none lost, failures wait longer each time.

A key that is added while it is queued is queued once; one that is added while it is being worked
on is queued again when that is done, never worked on twice at once. Keys come out in the order in
which they went in, so none starves. The number of distinct keys is the only bound it needs.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from kubraft.api.backoff import exponential_s
from kubraft.api.time import Clock
from kubraft.client.queue_figures import QueueFigures

K = TypeVar("K", bound=Hashable)

BASE_DELAY_S = 0.01
MAX_DELAY_S = 60.0


class QueueClosedError(Exception):
    """The queue was closed: there will be no more keys."""


class WorkQueue(Generic[K]):
    """For the tasks of one event loop; `add` and its kind may be called from handlers."""

    def __init__(
        self,
        clock: Clock,
        base_delay_s: float = BASE_DELAY_S,
        max_delay_s: float = MAX_DELAY_S,
        *,
        name: str = "",
    ) -> None:
        """Where it has a `name`, the process's figures show it under that."""
        self._clock = clock
        self._base_delay_s = base_delay_s
        self._max_delay_s = max_delay_s
        self._queue: deque[K] = deque()
        self._queued: set[K] = set()  # wants work: in the queue, or again once done
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._due_s: dict[K, float] = {}
        self._delayed: list[tuple[float, int, K]] = []
        self._delayed_count = 0
        self._timer: asyncio.Task[None] | None = None
        self._timer_due_s = 0.0
        self._closed = False
        self._figures = QueueFigures(name) if name else None

    def __len__(self) -> int:
        """Keys that wait to be taken now."""
        return len(self._queue)

    def add(self, key: K) -> None:
        """Have `key` worked on."""
        if self._closed or key in self._queued:
            return
        self._queued.add(key)
        if key not in self._working:
            self._enqueue(key)

    def add_after(self, key: K, delay_s: float) -> None:
        """Have `key` worked on once `delay_s` seconds passed; of several the earliest counts."""
        if delay_s <= 0:
            self.add(key)
            return
        due_s = self._clock.monotonic_s() + delay_s
        if self._closed or self._due_s.get(key, due_s + 1) <= due_s:
            return
        self._due_s[key] = due_s
        self._delayed_count += 1
        heapq.heappush(self._delayed, (due_s, self._delayed_count, key))
        self._set_timer()

    def add_rate_limited(self, key: K) -> float:
        """Have `key` worked on after a delay that doubles with each call until `forget`.

        Returns:
            The delay in seconds.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        if self._figures is not None:
            self._figures.retried()
        delay_s = exponential_s(failures, self._base_delay_s, self._max_delay_s)
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: K) -> None:
        """Start the delays of `key` anew: it was worked on with success."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often `add_rate_limited` was called for `key` since `forget`."""
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """The next key, which the caller must give to `done`; waits for one.

        Raises:
            QueueClosedError: the queue was closed.
        """
        while not self._queue:
            if self._closed:
                raise QueueClosedError
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()  # it was this one's turn: pass it on
                raise
        key = self._queue.popleft()
        self._queued.discard(key)
        self._working.add(key)
        if self._figures is not None:
            self._figures.taken(key, self._clock.monotonic_s())
        return key

    def done(self, key: K) -> None:
        """Say that the work on `key` ended, with or without success."""
        self._working.discard(key)
        if self._figures is not None:
            self._figures.done(key, self._clock.monotonic_s())
        if key in self._queued:
            self._enqueue(key)

    async def close(self) -> None:
        """Drop what waits; `get` raises from now on."""
        self._closed = True
        self._queue.clear()
        self._queued.clear()
        self._delayed.clear()
        self._due_s.clear()
        if self._figures is not None:
            self._figures.closed()
        while self._waiters:
            self._wake_one()
        if self._timer:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
            self._timer = None

    def _enqueue(self, key: K) -> None:
        self._queue.append(key)
        if self._figures is not None:
            self._figures.added(key, self._clock.monotonic_s())
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _set_timer(self) -> None:
        """Have one task wait for the earliest delayed key."""
        due_s = self._delayed[0][0]
        if self._timer and not self._timer.done():
            if self._timer_due_s <= due_s:
                return
            self._timer.cancel()
        self._timer_due_s = due_s
        self._timer = asyncio.get_running_loop().create_task(self._wait_for_delayed())

    async def _wait_for_delayed(self) -> None:
        while self._delayed:
            self._timer_due_s = self._delayed[0][0]
            await self._clock.sleep(self._timer_due_s - self._clock.monotonic_s())
            self._release(self._clock.monotonic_s())

    def _release(self, now_s: float) -> None:
        while self._delayed and self._delayed[0][0] <= now_s:
            due_s, _, key = heapq.heappop(self._delayed)
            if self._due_s.get(key) == due_s:
                del self._due_s[key]
                self.add(key)
