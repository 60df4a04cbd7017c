"""What a fault works with: a cluster under traffic, and chance."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e.store_cluster import wait_until
from tests.robustness.client import Client
from tests.robustness.relayed_cluster import RelayedCluster
from tests.robustness.shim import Shim
from tests.robustness.traffic.load import Load

# What a member may take to say that it cannot go on, on a busy machine.
REFUSAL_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A cluster under traffic, how long a fault of it lasts, and a client to ask it for things."""

    cluster: RelayedCluster
    rng: random.Random
    fault_s: float
    client: Client
    load: Load

    async def last(self) -> None:
        await asyncio.sleep(self.fault_s * self.rng.uniform(0.5, 1.5))

    async def leader(self) -> str:
        return await asyncio.to_thread(self.cluster.leader)

    async def follower(self) -> str:
        return self.rng.choice(await asyncio.to_thread(self.cluster.followers))

    async def anyone(self) -> str:
        """The leader as often as a follower."""
        return await (self.leader() if self.rng.random() < 0.5 else self.follower())

    async def ready(self) -> None:
        """Wait until all members know a leader. Raises AssertionError: one ended by itself."""
        await asyncio.to_thread(self.cluster.wait_ready, *self.cluster.names)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Raises AssertionError: not within what a busy machine may take."""
        await asyncio.to_thread(wait_until, condition, what, timeout_s=REFUSAL_S_MAX)

    def others(self, name: str) -> list[str]:
        return [other for other in self.cluster.names if other != name]

    @contextmanager
    def shim(self, name: str) -> Iterator[Shim]:
        """What stands between a member and its machine; calm again afterwards."""
        shim = self.cluster.shims[name]
        try:
            yield shim
        finally:
            shim.calm()


Fault = Callable[[Scene], Awaitable[None]]
