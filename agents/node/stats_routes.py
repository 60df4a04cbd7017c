"""The kubelet's /metrics/resource and /stats/summary on the node agent's port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import orjson

from agents.node.cri_client import RuntimeCallError
from agents.node.https_front import Asked, RefusedError, Route
from agents.node.resource_metrics import CONTENT_TYPE, exposition
from agents.node.summary import Before, by_key, summary
from agents.node.usage import NodeUsage, measure_node, pods_usage
from kubraft.api.object import Object, uid_of
from kubraft.api.time import Clock
from kubraft.grpc_server.exchange import HttpResponse
from kubraft.pb.criv1 import api_pb2 as cri

# However many ask, the runtime is asked once in that time.
KEPT_S: Final = 1.0
# Rates are taken over at least so long.
RATE_S_MIN: Final = 5.0


class StatsRoutes:
    """Measures when asked, and not more often than is of use."""

    def __init__(
        self,
        node: str,
        stats: Callable[[], Awaitable[list[cri.PodSandboxStats]]],
        pods: Callable[[], Iterable[Object]],
        clock: Clock,
    ) -> None:
        """`stats` asks the runtime; `pods` are those of this node."""
        self._node = node
        self._stats = stats
        self._pods = pods
        self._clock = clock
        self._latest: NodeUsage | None = None
        self._latest_s = 0.0
        self._before: Before = {}
        self._next: Before = {}
        self._next_s = float("-inf")
        self._gate = asyncio.Lock()

    def routes(self) -> dict[str, Route]:
        """By the first word of their paths."""
        return {
            "metrics": Route(self._metrics, subresource="metrics"),
            "stats": Route(self._summary, subresource="stats"),
        }

    async def _metrics(self, asked: Asked) -> None:
        if list(asked.words) != ["resource"]:
            raise RefusedError(404, "404 page not found")
        body = exposition(await self._usage())
        await asked.exchange.respond(HttpResponse(200, body, (("content-type", CONTENT_TYPE),)))

    async def _summary(self, asked: Asked) -> None:
        if list(asked.words) != ["summary"]:
            raise RefusedError(404, "404 page not found")
        usage = await self._usage()
        if usage.error:
            raise RefusedError(500, f"failed to list pod stats: {usage.error}")
        body = orjson.dumps(summary(self._node, usage, self._before))
        kind = ("content-type", "application/json")
        await asked.exchange.respond(HttpResponse(200, body, (kind,)))

    async def _usage(self) -> NodeUsage:
        async with self._gate:
            now_s = self._clock.monotonic_s()
            if self._latest is None or now_s - self._latest_s > KEPT_S:
                self._latest = await self._measure()
                self._latest_s = now_s
                if now_s - self._next_s >= RATE_S_MIN:
                    self._before, self._next = self._next, by_key(self._latest)
                    self._next_s = now_s
            return self._latest

    async def _measure(self) -> NodeUsage:
        measured, available, started_s = await asyncio.to_thread(measure_node)
        try:
            stats, error = await self._stats(), ""
        except RuntimeCallError as failure:
            stats, error = [], str(failure)
        pods = {uid_of(pod): pod for pod in self._pods()}
        return NodeUsage(measured, available, started_s, pods_usage(stats, pods), error)
