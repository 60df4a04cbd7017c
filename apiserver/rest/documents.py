"""The documents that say what is served, made anew when the resources have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from apiserver.aggregation.aggregator import Aggregator, Described
from apiserver.registry.resource import Resource
from apiserver.registry.resources import Resources
from apiserver.rest.discovery import Discovery, Document
from apiserver.rest.openapi import OpenApi
from kubraft.health.front import VERSION


class Documents:
    """Discovery and OpenAPI of one table of resources."""

    def __init__(
        self,
        resources: Resources,
        others: Iterable[Resource],
        address: str,
        aggregator: Aggregator | None = None,
    ) -> None:
        """`others` are rows beside the table; `address` is where clients reach the server."""
        self._aggregator = aggregator
        self._resources = resources
        self._others = tuple(others)
        self._address = address
        self._generation = (-1, -1)
        self._discovery = Discovery((), address)
        self._openapi: OpenApi | None = None
        self._making: asyncio.Future[dict[str, Document]] | None = None

    def discovery(self) -> Discovery:
        """As of now."""
        aggregator = self._aggregator
        generation = self._resources.generation, aggregator.generation if aggregator else 0
        if self._generation != generation:
            self._generation = generation
            rows = (*self._resources.offers(), *self._others)
            if aggregator is None:
                self._discovery = Discovery(rows, self._address)
            else:
                priorities = aggregator.directory.priorities
                described = aggregator.described()
                self._discovery = Discovery(rows, self._address, described, priorities)
            self._making = None
        return self._discovery

    async def openapi(self) -> dict[str, Document]:
        """As of now; made by the first who asks, in a thread: the others wait for the same."""
        served = list(self.discovery().group_versions())
        if self._making is None:
            remotes = self._aggregator.described() if self._aggregator else []
            making = asyncio.to_thread(self._make, served, remotes)
            self._making = asyncio.ensure_future(making)
        return await asyncio.shield(self._making)

    def _make(
        self, served: list[tuple[str, str, list[Resource]]], remotes: list[Described]
    ) -> dict[str, Document]:
        self._openapi = OpenApi(served, VERSION["gitVersion"], self._openapi)
        return self._openapi.documents(remotes)
