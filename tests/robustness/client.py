"""Clients that talk to the members of a cluster and write down all they did and saw."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from kubraft.pb.v3lockpb import v3lock_pb2, v3lock_pb2_grpc
from tests.conformance.linearizability import NEVER
from tests.e2e.store_cluster import StoreCluster
from tests.robustness.history import Call, History, Kv, ListTxn, Watch, WatchRequest, Write
from tests.robustness.streams import WatchStream, kv_of

CALL_S = 4.0

# These say that the request was refused; every other error leaves open whether it was carried out.
_REFUSALS = {
    grpc.StatusCode.OUT_OF_RANGE,  # compacted or future revision
    grpc.StatusCode.NOT_FOUND,  # lease
    grpc.StatusCode.INVALID_ARGUMENT,
}


class Connections:
    """Channels to all members, shared by the clients, and the history they write."""

    def __init__(self, cluster: StoreCluster, history: History) -> None:
        self._cluster = cluster
        self.history = history
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._clients = 0

    @property
    def members(self) -> Sequence[str]:
        """Those that belong to the cluster now."""
        return self._cluster.names

    def client(self, rng: random.Random) -> Client:
        self._clients += 1
        return Client(self._clients, self, rng)

    def channel(self, member: str) -> grpc.aio.Channel:
        if member not in self._channels:
            self._channels[member] = self._cluster.aio_channel(member)
        return self._channels[member]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for channel in self._channels.values():
            await channel.close(None)


class Client:
    """One sequential client; each request goes to a random member, or to `member`."""

    def __init__(self, number: int, connections: Connections, rng: random.Random) -> None:
        self._number = number
        self._connections = connections
        self._rng = rng
        self._values = 0
        self.member = ""

    def _a_member(self) -> str:
        return self.member or self._rng.choice(self._connections.members)

    def channel(self, member: str) -> grpc.aio.Channel:
        """For what the history need not know."""
        return self._connections.channel(member)

    def note(self, txn: ListTxn) -> None:
        """Write down what a txn of several requests amounts to."""
        self._connections.history.lists.append(txn)

    def value(self) -> str:
        """One that nobody ever wrote."""
        self._values += 1
        return f"{self._number}.{self._values}"

    async def put(self, key: str, value: str, lease: int = 0) -> Call:
        request = rpc_pb2.PutRequest(key=key.encode(), value=value.encode(), lease=lease)
        return await self._call("put", request, writes=(Write(key, value, lease),))

    async def delete(self, key: str) -> Call:
        request = rpc_pb2.DeleteRangeRequest(key=key.encode())
        return await self._call("delete", request, writes=(Write(key, None),))

    async def txn(
        self,
        writes: Sequence[Write],
        *,
        guards: Sequence[tuple[str, str | None]] = (),
        seen: Sequence[Kv] = (),
    ) -> Call:
        """Write if each guard's key has the guard's value; the keys are read if one has not.

        One that is in `seen`, with that value, is told by its revision.
        """
        request = rpc_pb2.TxnRequest(success=map(_operation, writes))
        revisions = {kv.key: kv.mod for kv in seen}
        for key, expected in guards:
            compare = request.compare.add(key=key.encode())
            if key in revisions:
                compare.target, compare.mod_revision = rpc_pb2.Compare.MOD, revisions[key]
            elif expected is None:
                compare.target, compare.version = rpc_pb2.Compare.VERSION, 0
            else:
                compare.target, compare.value = rpc_pb2.Compare.VALUE, expected.encode()
            request.failure.add().request_range.key = key.encode()
        return await self._call("txn", request, writes=tuple(writes), guards=tuple(guards))

    async def read(
        self,
        key: str,
        end: str = "",
        *,
        serializable: bool = False,
        at_revision: int = 0,
        limit: int = 0,
    ) -> Call:
        request = rpc_pb2.RangeRequest(
            key=key.encode(),
            range_end=end.encode(),
            serializable=serializable,
            revision=at_revision,
            limit=limit,
        )
        return await self._call(
            "read",
            request,
            key=key,
            end=end,
            serializable=serializable,
            at_revision=at_revision,
            limit=limit,
        )

    async def compact(self, revision: int) -> Call:
        request = rpc_pb2.CompactionRequest(revision=revision)
        return await self._call("compact", request, at_revision=revision)

    async def grant(self, ttl_s: int) -> Call:
        lease = self._rng.getrandbits(60) + 1
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl_s, ID=lease)
        return await self._call("grant", request, lease=lease, ttl_s=ttl_s)

    async def revoke(self, lease: int) -> Call:
        return await self._call("revoke", rpc_pb2.LeaseRevokeRequest(ID=lease), lease=lease)

    async def keep_alive(self, lease: int) -> Call:
        return await self._call("keep-alive", rpc_pb2.LeaseKeepAliveRequest(ID=lease), lease=lease)

    async def _call(self, name: str, request: Any, **fields: Any) -> Call:
        now = asyncio.get_running_loop().time
        member = self._a_member()
        called = now()
        found: dict[str, Any] = {"returned": NEVER}
        try:
            response = await self._send(name, member, request)
            found = {"revision": response.header.revision, **_answer(name, response)}
            found["returned"] = now()
        except grpc.aio.AioRpcError as error:
            if error.code() in _REFUSALS:
                found = {"returned": now(), "error": error.details() or ""}
            else:
                await asyncio.sleep(0.05)  # a member that is down says so at once
        finally:
            call = Call(self._number, member, name, called, **(fields | found))
            self._connections.history.calls.append(call)
        return call

    async def _send(self, name: str, member: str, request: Any) -> Any:
        channel = self._connections.channel(member)
        if name == "keep-alive":
            stream = rpc_pb2_grpc.LeaseStub(channel).LeaseKeepAlive(iter([request]), timeout=CALL_S)
            async for response in stream:
                return response
            raise AssertionError("keep-alive ended without an answer")
        stub, method = _METHODS[name]
        return await getattr(stub(channel), method)(request, timeout=CALL_S)

    async def watch(
        self, request: WatchRequest, stop: Callable[[Watch], bool], *, eager: bool = False
    ) -> tuple[int, Watch]:
        """Watch until `stop` says so after a response, or it ends; its number in the history."""
        ((number, watch),) = await self.watch_all([request], stop, eager=eager)
        return number, watch

    async def watch_all(
        self, requests: Sequence[WatchRequest], stop: Callable[[Watch], bool], *, eager: bool
    ) -> list[tuple[int, Watch]]:
        """Several watches on one stream, until `stop` says so of one, or all have ended."""
        member = self._a_member()
        history = self._connections.history
        watches = [Watch(member, request) for request in requests]
        first = len(history.watches)
        history.watches += watches
        stream = WatchStream(self._connections.channel(member), watches, eager=eager)
        await stream.run(stop)
        return list(enumerate(watches, first))

    # Locks.

    async def lock(self, name: str, lease: int) -> Call:
        """Wait for a lock; its key is in `writes`, and `revision` is one at which it was held."""
        key = f"{name}/{lease:x}"
        writes = (Write(key, "", lease),)
        request = v3lock_pb2.LockRequest(name=name.encode(), lease=lease)
        call = await self._call("lock", request, key=name, lease=lease, writes=writes)
        if not call.succeeded:
            # Who gives up is taken out of the line, some time.
            leave = dataclasses.replace(
                call, name="leave", writes=(Write(key, None),), returned=NEVER, error=""
            )
            self._connections.history.calls.append(leave)
        return call

    async def unlock(self, key: str) -> Call:
        request = v3lock_pb2.UnlockRequest(key=key.encode())
        return await self._call("unlock", request, writes=(Write(key, None),))


_METHODS: dict[str, tuple[Any, str]] = {
    "put": (rpc_pb2_grpc.KVStub, "Put"),
    "delete": (rpc_pb2_grpc.KVStub, "DeleteRange"),
    "txn": (rpc_pb2_grpc.KVStub, "Txn"),
    "read": (rpc_pb2_grpc.KVStub, "Range"),
    "compact": (rpc_pb2_grpc.KVStub, "Compact"),
    "grant": (rpc_pb2_grpc.LeaseStub, "LeaseGrant"),
    "revoke": (rpc_pb2_grpc.LeaseStub, "LeaseRevoke"),
    "lock": (v3lock_pb2_grpc.LockStub, "Lock"),
    "unlock": (v3lock_pb2_grpc.LockStub, "Unlock"),
}


def _operation(write: Write) -> rpc_pb2.RequestOp:
    key = write.key.encode()
    if write.value is None:
        return rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key))
    put = rpc_pb2.PutRequest(key=key, value=write.value.encode(), lease=write.lease)
    return rpc_pb2.RequestOp(request_put=put)


def _answer(name: str, response: Any) -> dict[str, Any]:
    match name:
        case "read":
            assert response.more == (response.count > len(response.kvs))
            return {"kvs": tuple(map(kv_of, response.kvs)), "count": response.count}
        case "delete":
            return {"count": response.deleted}
        case "txn" if not response.succeeded:
            kvs = [kv for found in response.responses for kv in found.response_range.kvs]
            return {"kvs": tuple(map(kv_of, kvs)), "done": False}
        case "txn":
            return {"count": sum(r.response_delete_range.deleted for r in response.responses)}
        case "grant":
            return {"lease": response.ID, "ttl_s": response.TTL}
        case "keep-alive":
            return {"ttl_s": response.TTL}
    return {}
