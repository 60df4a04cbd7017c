"""Looking at something now and then, at moments that all tasks of a process share.

A process that wakes costs more than what it then looks at, so those who look twice a second do so
together.
"""

from __future__ import annotations

import asyncio


async def next_beat(period_s: float) -> None:
    """Return at the loop's next multiple of `period_s`, or the one after, where that is now."""
    left_s = period_s - asyncio.get_running_loop().time() % period_s
    # A timer may fire a little early; that beat has been then.
    await asyncio.sleep(left_s if left_s > period_s / 10 else left_s + period_s)
