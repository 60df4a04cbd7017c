"""Deadlines that are nearly always taken back, as those of calls are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

STEP_S = 0.05


class Alarms:
    """Keeps them in a dictionary that is looked through every `STEP_S` while there are any.

    A timer of the event loop costs several times as much to set and to take back. An alarm goes off
    up to `STEP_S` late, and never early.
    """

    def __init__(self) -> None:
        self._alarms: dict[object, tuple[float, Callable[[], None]]] = {}
        self._looking: asyncio.TimerHandle | None = None

    def set(self, key: object, delay_s: float, action: Callable[[], None]) -> None:
        """Call `action` after `delay_s`, unless `key` is dropped, or set again, before."""
        loop = asyncio.get_running_loop()
        self._alarms[key] = loop.time() + delay_s, action
        if self._looking is None:
            self._looking = loop.call_later(STEP_S, self._look)

    def drop(self, key: object) -> None:
        self._alarms.pop(key, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for key, (due, action) in list(self._alarms.items()):
            if due <= now and key in self._alarms:
                del self._alarms[key]
                action()
        self._looking = loop.call_later(STEP_S, self._look) if self._alarms else None
