"""Async clients of a test cluster that record what they did, for the linearizability checker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from tests.conformance.linearizability import NEVER, Kind, Operation
from tests.e2e.store_cluster import StoreCluster

CALL_S = 6.0


class StoreClient:
    """Channels to every member of a cluster."""

    def __init__(self, cluster: StoreCluster) -> None:
        self._channels = {name: cluster.aio_channel(name) for name in cluster.names}
        self.kv: dict[str, Any] = {
            name: rpc_pb2_grpc.KVStub(channel) for name, channel in self._channels.items()
        }

    async def put(self, name: str, key: str, value: str, *, timeout_s: float = CALL_S) -> None:
        request = rpc_pb2.PutRequest(key=key.encode(), value=value.encode())
        await self.kv[name].Put(request, timeout=timeout_s)

    async def get(
        self, name: str, key: str, *, serializable: bool = False, timeout_s: float = CALL_S
    ) -> str | None:
        request = rpc_pb2.RangeRequest(key=key.encode(), serializable=serializable)
        response = await self.kv[name].Range(request, timeout=timeout_s)
        return response.kvs[0].value.decode() if response.kvs else None

    async def cas(
        self, name: str, key: str, expected: str | None, value: str, *, timeout_s: float = CALL_S
    ) -> bool:
        if expected is None:
            compare = rpc_pb2.Compare(key=key.encode(), target=rpc_pb2.Compare.VERSION, version=0)
        else:
            compare = rpc_pb2.Compare(
                key=key.encode(), target=rpc_pb2.Compare.VALUE, value=expected.encode()
            )
        put = rpc_pb2.PutRequest(key=key.encode(), value=value.encode())
        request = rpc_pb2.TxnRequest(
            compare=[compare], success=[rpc_pb2.RequestOp(request_put=put)]
        )
        return bool((await self.kv[name].Txn(request, timeout=timeout_s)).succeeded)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


class Recorder:
    """Runs random operations on a few keys at random members and writes them down."""

    def __init__(self, client: StoreClient, rng: random.Random, keys: list[str]) -> None:
        self._client = client
        self._rng = rng
        self._keys = keys
        self._number = 0
        self.history: list[Operation] = []

    async def run(self, stop: asyncio.Event, *, pause_s: float = 0.02) -> None:
        """One client; several may run at once."""
        members = list(self._client.kv)
        last: dict[str, str | None] = {}
        while not stop.is_set():
            await self._once(self._rng.choice(members), self._rng.choice(self._keys), last)
            await asyncio.sleep(pause_s * self._rng.random())

    async def _once(self, member: str, key: str, last: dict[str, str | None]) -> None:
        client, now = self._client, asyncio.get_running_loop().time
        kind = self._rng.choice([Kind.READ, Kind.READ, Kind.WRITE, Kind.CAS])
        self._number += 1
        value, expected = f"{key}.{self._number}", last.get(key)
        called = now()
        result: str | bool | None = None
        returned = NEVER
        try:
            if kind is Kind.READ:
                result = last[key] = await client.get(member, key)
            elif kind is Kind.WRITE:
                await client.put(member, key, value)
                last[key] = value
            else:
                result = await client.cas(member, key, expected, value)
                last[key] = value if result else None
            returned = now()
        except grpc.aio.AioRpcError:
            # Whatever the error says, it may have happened.
            await asyncio.sleep(0.05)
        self.history.append(Operation(key, kind, called, returned, value, expected, result))


async def write_until(
    client: StoreClient, stop: asyncio.Event, acknowledged: Callable[[str, float], None]
) -> None:
    """Write ever new keys, each at the next member that answers; tell of each that was taken."""
    loop = asyncio.get_running_loop()
    members = list(client.kv)
    number = 0
    while not stop.is_set():
        member = members[number % len(members)]
        key = f"acknowledged/{number:06}"
        number += 1
        try:
            await client.put(member, key, key, timeout_s=2.0)
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.01)
            continue
        acknowledged(key, loop.time())
        await asyncio.sleep(0.002)
