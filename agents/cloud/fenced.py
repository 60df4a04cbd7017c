"""A provider's parts that change something, asked only while the Lease is surely held.

So a process that was stopped, and goes on after another has taken its Lease, asks for nothing any
more; what it had asked for before goes on, as with any cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agents.cloud.provider import Ingress, LoadBalancers, Route, Routes
from kubraft.api.object import Object

# Raises LeadershipLostError where this process may not act.
Fence = Callable[[], object]


class FencedLoadBalancers:
    """Load balancers of the lease holder."""

    def __init__(self, inner: LoadBalancers, fence: Fence) -> None:
        self._inner = inner
        self._fence = fence

    async def ensure(self, service: Object, nodes: Sequence[Object]) -> tuple[Ingress, ...]:
        self._fence()
        return await self._inner.ensure(service, nodes)

    async def delete(self, service: Object) -> None:
        self._fence()
        await self._inner.delete(service)


class FencedRoutes:
    """Routes of the lease holder."""

    def __init__(self, inner: Routes, fence: Fence) -> None:
        self._inner = inner
        self._fence = fence

    async def list(self) -> tuple[Route, ...]:
        return await self._inner.list()

    async def create(self, route: Route) -> None:
        self._fence()
        await self._inner.create(route)

    async def delete(self, route: Route) -> None:
        self._fence()
        await self._inner.delete(route)
