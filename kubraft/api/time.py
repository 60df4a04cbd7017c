"""Points in time as the API writes them, and the clock that programs are given.

Cores take a `Clock` or a `datetime` and never read the machine's clock themselves.

Source: RFC 3339; Kubernetes meta/v1 Time (seconds) and MicroTime (microseconds).
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")


class Clock(Protocol):
    """Where a program reads time and waits for it."""

    def monotonic_s(self) -> float:
        """Seconds since some fixed start; never goes back. For durations and deadlines."""
        ...

    def now(self) -> datetime:
        """The wall clock in UTC; may jump. For what is written into objects, not for deadlines."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Return once `delay_s` seconds of the monotonic clock have passed."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(max(delay_s, 0))


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed_s = 0.0
        self._wall_offset = timedelta()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def monotonic_s(self) -> float:
        return self._elapsed_s

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_s) + self._wall_offset

    async def sleep(self, delay_s: float) -> None:
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        self._count += 1
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_s + delay_s, self._count, future))
        await future

    def jump_wall(self, seconds: float) -> None:
        """Move only the wall clock, as a correction of the machine's clock does."""
        self._wall_offset += timedelta(seconds=seconds)

    def next_wake_s(self) -> float | None:
        """When the earliest sleeper wakes, on the monotonic clock; None where nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: wake each sleeper at its moment, in order, and let it run."""
        target = self._elapsed_s + seconds
        await settle()
        while (wake := self.next_wake_s()) is not None and wake <= target:
            self._elapsed_s = max(wake, self._elapsed_s)
            _, _, future = heapq.heappop(self._sleepers)
            future.set_result(None)
            await settle()
        self._elapsed_s = target
        await settle()


async def settle(rounds: int = 20) -> None:
    """Give other tasks `rounds` turns of the event loop."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def within(clock: Clock, timeout_s: float, call: Coroutine[Any, Any, _T]) -> _T:
    """The answer of `call`, if it comes within `timeout_s` of `clock`.

    Raises:
        TimeoutError: it did not; `call` has been cancelled and has ended.
    """
    calling = asyncio.ensure_future(call)
    timer = asyncio.ensure_future(clock.sleep(timeout_s))
    try:
        await asyncio.wait({calling, timer}, return_when=asyncio.FIRST_COMPLETED)
        if not calling.done():
            raise TimeoutError
        return calling.result()
    finally:
        for task in (calling, timer):
            task.cancel()
        await asyncio.gather(calling, timer, return_exceptions=True)


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time, with or without a fraction; the answer is in UTC.

    Raises:
        ValueError: it is not RFC 3339, or has no time zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an RFC 3339 time") from error
    if moment.tzinfo is None or len(text) < len("2026-01-01T00:00:00Z"):
        raise ValueError(f"{text!r} is not an RFC 3339 time")
    return moment.astimezone(UTC)


def format_time(moment: datetime) -> str:
    """Write meta/v1 Time: UTC, whole seconds, "2026-01-02T03:04:05Z"."""
    moment = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def format_micro_time(moment: datetime) -> str:
    """Write meta/v1 MicroTime: UTC with six digits, "2026-01-02T03:04:05.000006Z"."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
