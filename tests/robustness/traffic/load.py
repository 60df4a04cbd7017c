"""What the programs of a run share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from tests.robustness.client import Client, Connections

HISTORY_KEPT = 200  # revisions behind the slowest collector, at least


@dataclass(slots=True)
class Load:
    """What the programs share."""

    connections: Connections
    rng: random.Random
    stop: asyncio.Event
    pause_s: float
    # The revision up to which each watch of everything has all.
    collected: dict[int, int] = field(default_factory=dict)

    async def rest(self) -> bool:
        """A short pause; whether to go on."""
        await asyncio.sleep(self.pause_s * self.rng.random() * 2)
        return not self.stop.is_set()


Program = Callable[[Load, Client], Coroutine[None, None, None]]
