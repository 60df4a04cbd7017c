"""Leases of the store, shared: keys that are to vanish within the same minute use one.

A lease a key would make more leases than keys; upstream shares them in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import grpc.aio

from apiserver.storage.endpoints import Endpoints
from kubraft.api.errors import ServiceUnavailableError
from kubraft.pb.etcdserverpb import rpc_pb2 as rpc

SHARE_S = 60
KEYS_MAX = 1000


class _Lease(NamedTuple):
    lease_id: int
    until_s: float
    keys: int


class LeasePool:
    """Hands out leases by time to live; a lease serves `KEYS_MAX` keys or `SHARE_S` at most."""

    def __init__(self, endpoints: Endpoints, now_s: Callable[[], float]) -> None:
        self._endpoints = endpoints
        self._now_s = now_s
        self._leases: dict[int, _Lease] = {}
        self._lock = asyncio.Lock()

    async def lease(self, ttl_s: int) -> int:
        """The id of a lease that ends in `ttl_s` to `ttl_s` + `SHARE_S` seconds.

        Raises:
            ServiceUnavailableError: the store cannot grant one.
        """
        async with self._lock:
            held = self._leases.get(ttl_s)
            if held is None or held.until_s < self._now_s() or held.keys >= KEYS_MAX:
                held = _Lease(await self._grant(ttl_s + SHARE_S), self._now_s() + SHARE_S, 0)
            self._leases[ttl_s] = held._replace(keys=held.keys + 1)
            return held.lease_id

    async def _grant(self, ttl_s: int) -> int:
        try:
            response, _ = await self._endpoints.call(
                lambda e: e.lease.LeaseGrant, rpc.LeaseGrantRequest(TTL=ttl_s)
            )
        except grpc.aio.AioRpcError as error:
            details = error.details() or str(error.code())
            raise ServiceUnavailableError(f"the store grants no lease: {details}") from error
        return int(response.ID)
