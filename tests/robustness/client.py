"""Clients that talk to the members of a cluster and write down all they did and saw."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from kubraft.pb.mvccpb import kv_pb2
from tests.conformance.linearizability import NEVER
from tests.e2e.store_cluster import StoreCluster
from tests.robustness.history import (
    Call,
    Event,
    History,
    Kv,
    Watch,
    WatchRequest,
    WatchResponse,
    Write,
)

CALL_S = 4.0
# A watch that says nothing for so long is given up; progress is asked for twice in this time.
SILENCE_S = 3.0
# A stream that cannot even be opened ends in time too; long ones are taken up again.
_STREAM_S_MAX = 20.0

_ASK = rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest())
# Not in the stubs of the types.
END_OF_STREAM: Any = grpc.aio.EOF  # type: ignore[attr-defined]

# These say that the request was refused; every other error leaves open whether it was carried out.
_REFUSALS = {
    grpc.StatusCode.OUT_OF_RANGE,  # compacted or future revision
    grpc.StatusCode.NOT_FOUND,  # lease
    grpc.StatusCode.INVALID_ARGUMENT,
}


class Connections:
    """Channels to all members, shared by the clients, and the history they write."""

    def __init__(self, cluster: StoreCluster, history: History) -> None:
        self.members = cluster.names
        self.history = history
        self._channels = {name: cluster.aio_channel(name) for name in cluster.names}
        self._clients = 0

    def client(self, rng: random.Random) -> Client:
        self._clients += 1
        return Client(self._clients, self, rng)

    def channel(self, member: str) -> grpc.aio.Channel:
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
        guard: tuple[str, str | None] | None = None,
        seen: Kv | None = None,
    ) -> Call:
        """Write if the guard's key has the guard's value; the key is read if it has not.

        With `seen`, which holds that value, it is told by its revision.
        """
        request = rpc_pb2.TxnRequest(success=map(_operation, writes))
        if guard:
            key, expected = guard
            compare = request.compare.add(key=key.encode())
            if seen is not None:
                compare.target, compare.mod_revision = rpc_pb2.Compare.MOD, seen.mod
            elif expected is None:
                compare.target, compare.version = rpc_pb2.Compare.VERSION, 0
            else:
                compare.target, compare.value = rpc_pb2.Compare.VALUE, expected.encode()
            request.failure.add().request_range.key = key.encode()
        return await self._call("txn", request, writes=tuple(writes), guard=guard)

    async def read(
        self, key: str, end: str = "", *, serializable: bool = False, at_revision: int = 0
    ) -> Call:
        request = rpc_pb2.RangeRequest(
            key=key.encode(),
            range_end=end.encode(),
            serializable=serializable,
            revision=at_revision,
        )
        return await self._call(
            "read", request, key=key, end=end, serializable=serializable, at_revision=at_revision
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
        member = self.member or self._rng.choice(self._connections.members)
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
        """Watch until `stop` says so after a response, or it ends; its number in the history.

        An eager one asks for progress at once, and again after all events.
        """
        member = self.member or self._rng.choice(self._connections.members)
        watch = Watch(member, request)
        history = self._connections.history
        number = len(history.watches)
        history.watches.append(watch)
        # The stream says in two ways that it has ended.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async with contextlib.aclosing(
                self._responses(member, request, eager=eager)
            ) as responses:
                async for response in responses:
                    watch.responses.append(response)
                    if response.compacted or stop(watch):
                        break
        return number, watch

    async def _responses(
        self, member: str, request: WatchRequest, *, eager: bool
    ) -> AsyncGenerator[WatchResponse]:
        """Until the member says nothing any more, not even when it is asked for progress."""
        now = asyncio.get_running_loop().time
        stub: Any = rpc_pb2_grpc.WatchStub(self._connections.channel(member))
        stream = stub.Watch(timeout=_STREAM_S_MAX)
        reading: asyncio.Future[Any] | None = None
        try:
            await stream.write(_watch_request(request))
            if eager:
                await stream.write(_ASK)
            while True:
                reading = asyncio.ensure_future(stream.read())
                if not await _is_done(reading):
                    await stream.write(_ASK)
                    if not await _is_done(reading):
                        return
                if (response := reading.result()) is END_OF_STREAM:
                    return
                yield _watch_response(response, now())
                if eager and response.events:
                    await stream.write(_ASK)
        finally:
            stream.cancel()
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def _is_done(reading: asyncio.Future[Any]) -> bool:
    done, _ = await asyncio.wait([reading], timeout=SILENCE_S / 2)
    return bool(done)


_METHODS: dict[str, tuple[Any, str]] = {
    "put": (rpc_pb2_grpc.KVStub, "Put"),
    "delete": (rpc_pb2_grpc.KVStub, "DeleteRange"),
    "txn": (rpc_pb2_grpc.KVStub, "Txn"),
    "read": (rpc_pb2_grpc.KVStub, "Range"),
    "compact": (rpc_pb2_grpc.KVStub, "Compact"),
    "grant": (rpc_pb2_grpc.LeaseStub, "LeaseGrant"),
    "revoke": (rpc_pb2_grpc.LeaseStub, "LeaseRevoke"),
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
            assert response.count == len(response.kvs)
            return {"kvs": tuple(map(_kv, response.kvs))}
        case "txn" if not response.succeeded:
            kvs = [kv for found in response.responses for kv in found.response_range.kvs]
            return {"kvs": tuple(map(_kv, kvs)), "done": False}
        case "grant":
            return {"lease": response.ID, "ttl_s": response.TTL}
        case "keep-alive":
            return {"ttl_s": response.TTL}
    return {}


def _kv(kv: kv_pb2.KeyValue) -> Kv:
    return Kv(
        kv.key.decode(),
        kv.value.decode(),
        kv.create_revision,
        kv.mod_revision,
        kv.version,
        kv.lease,
    )


def _watch_request(request: WatchRequest) -> rpc_pb2.WatchRequest:
    create = rpc_pb2.WatchCreateRequest(
        key=request.key.encode(),
        range_end=request.end.encode(),
        start_revision=request.start,
        prev_kv=request.prev_kv,
    )
    if request.no_put:
        create.filters.append(rpc_pb2.WatchCreateRequest.NOPUT)
    if request.no_delete:
        create.filters.append(rpc_pb2.WatchCreateRequest.NODELETE)
    return rpc_pb2.WatchRequest(create_request=create)


def _watch_response(response: rpc_pb2.WatchResponse, at: float) -> WatchResponse:
    events = tuple(
        Event(
            event.type == kv_pb2.Event.DELETE,
            _kv(event.kv),
            _kv(event.prev_kv) if event.HasField("prev_kv") else None,
        )
        for event in response.events
    )
    is_news = bool(events) or response.created or response.canceled
    return WatchResponse(
        at,
        response.header.revision,
        events,
        created=response.created,
        progress=not is_news,
        compacted=response.compact_revision,
    )
