"""Ending a connection that nobody uses, as an HTTP server does after its idle timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Looked at so often within the time that a connection may be idle.
_LOOKS = 4


class Idleness:
    """Calls `leave` after `idle_s` to five quarters of it without a request; 0 never does.

    Set `used` whenever a request begins; `busy` answers whether one runs.
    """

    def __init__(self, idle_s: float, busy: Callable[[], bool], leave: Callable[[], None]) -> None:
        self._idle_s = idle_s
        self._busy = busy
        self._leave = leave
        self._quiet = 0
        self.used = False
        self._timer: asyncio.TimerHandle | None = None
        if idle_s > 0:
            self._again()

    def _again(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._idle_s / _LOOKS, self._look)

    def _look(self) -> None:
        self._quiet = 0 if self.used or self._busy() else self._quiet + 1
        self.used = False
        if self._quiet > _LOOKS:
            self._leave()
        else:
            self._again()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
