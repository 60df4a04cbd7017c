"""Whether a load balancer's targets answer.

A target is taken for healthy until it has failed FAILURES_MAX checks in a row, and from its first
success on again. With a node's health port (externalTrafficPolicy: Local) a check is a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

from kubraft.api.time import Clock, within

FAILURES_MAX: Final = 2
TIMEOUT_S: Final = 2.0
_PARALLEL_MAX: Final = 32
_STATUS_BYTES: Final = 64


class HealthTarget(NamedTuple):
    """A socket that is asked; with `http`, for /healthz."""

    address: str
    port: int
    http: bool = False


class TargetHealth:
    """What the last checks have said."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[HealthTarget, int] = {}

    def is_healthy(self, target: HealthTarget) -> bool:
        return self._failures.get(target, 0) < FAILURES_MAX

    @property
    def has_failures(self) -> bool:
        """Whether any target has failed its last check."""
        return any(self._failures.values())

    async def check(self, targets: Iterable[HealthTarget]) -> bool:
        """Ask each once; whether any has become healthy, or ill. Others are forgotten."""
        limit = asyncio.Semaphore(_PARALLEL_MAX)

        async def one(target: HealthTarget) -> tuple[HealthTarget, bool]:
            async with limit:
                try:
                    return target, await within(self._clock, TIMEOUT_S, answers(target))
                except TimeoutError:
                    return target, False

        before = self._failures
        results = await asyncio.gather(*(one(target) for target in set(targets)))
        self._failures = {
            target: 0 if good else before.get(target, 0) + 1 for target, good in results
        }
        return any(
            (before.get(target, 0) < FAILURES_MAX) != self.is_healthy(target)
            for target, _ in results
        )


async def answers(target: HealthTarget) -> bool:
    """Whether it takes a connection, and with `http` answers 200."""
    try:
        reader, writer = await asyncio.open_connection(target.address, target.port)
    except OSError:
        return False
    try:
        if not target.http:
            return True
        request = f"GET /healthz HTTP/1.1\r\nHost: {target.address}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        status = (await reader.readline())[:_STATUS_BYTES].split()
        return len(status) > 1 and status[1] == b"200"
    except (OSError, ValueError):
        return False
    finally:
        writer.close()
