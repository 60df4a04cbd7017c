"""A deadline that moves with every request, over one timer that does not."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class LazyTimer:
    """Calls `action` when the deadline has come; where it was put off the timer looks again later.

    To set and to take back a timer of the event loop costs several microseconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], object]) -> None:
        self._loop = loop
        self._action = action
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Move the deadline to so many seconds from now."""
        self._due = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._due:
            self.stop()
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._look)

    def put_off(self) -> None:
        """There is no deadline for now."""
        self._due = math.inf

    def stop(self) -> None:
        """There will be none; the timer goes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._due <= self._loop.time():
            self._action()
        elif self._due < math.inf:
            self._timer = self._loop.call_at(self._due, self._look)
