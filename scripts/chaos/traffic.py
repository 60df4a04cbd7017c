"""Clients of the application, through its Service: each request once, on a new connection."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

from scripts.chaos.manifests import PORT
from scripts.workload import fetch

_PAUSE_S: Final = 0.1
_FAILURES_KEPT: Final = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered, by the monotonic clock."""

    at_s: float
    why: str


@dataclass(slots=True)
class Traffic:
    """Requests to one address until cancelled, and what became of them."""

    address: str
    answered: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)  # the first ones
    longest_gap_s: float = 0.0
    gap_ended_at_s: float = 0.0
    _last_answer_s: float = 0.0

    async def run(self, workers: int = 3) -> None:
        self._last_answer_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(self._work())

    @property
    def asked(self) -> int:
        return self.answered + self.failed

    @property
    def availability(self) -> float:
        """The share of requests that were answered."""
        return self.answered / self.asked if self.asked else 0.0

    async def _work(self) -> None:
        while True:
            try:
                await fetch(self.address, port=PORT)
            except (OSError, TimeoutError, ValueError) as error:
                self.failed += 1
                if len(self.failures) < _FAILURES_KEPT:
                    self.failures.append(Failure(time.monotonic(), repr(error)))
            else:
                self.answered += 1
                self._note_answer(time.monotonic())
            await asyncio.sleep(_PAUSE_S)

    def _note_answer(self, now_s: float) -> None:
        gap_s = now_s - self._last_answer_s
        if gap_s > self.longest_gap_s:
            self.longest_gap_s, self.gap_ended_at_s = gap_s, now_s
        self._last_answer_s = now_s
