"""Virtual time: events in order of their time, and of their making where times are equal."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clock:
    """Runs events; `now` is in seconds and only moves from event to event."""

    def __init__(self) -> None:
        self.now = 1.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, time: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (max(time, self.now), self._count, event))

    def after(self, delay: float, event: Callable[[], None]) -> None:
        self.at(self.now + delay, event)

    def run_until(self, time: float) -> None:
        while self._heap and self._heap[0][0] <= time:
            self.now, _, event = heapq.heappop(self._heap)
            event()
        self.now = time
