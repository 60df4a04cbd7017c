"""Waiting in tests: for a condition, with a deadline, never for a guessed time."""

import asyncio
from collections.abc import Callable


async def eventually(
    condition: Callable[[], object], what: str = "", *, timeout_s: float = 10.0
) -> None:
    """Return once `condition()` is true; fail where it is not after `timeout_s`."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while not condition():
        if loop.time() > deadline_s:
            raise AssertionError(f"not within {timeout_s} s: {what or condition}")
        await asyncio.sleep(0.005)
