"""The store over etcd v3 gRPC: a Kubraft quorum or a real etcd."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import grpc
import grpc.aio

from apiserver.storage.endpoints import READ_ATTEMPT_S, WRITE_ATTEMPT_S, Endpoint, Endpoints
from apiserver.storage.errors import (
    ClaimTakenError,
    CompactedError,
    FutureRevisionError,
    KeyExistsError,
    RevisionMismatchError,
    StorageError,
)
from apiserver.storage.lease_pool import LeasePool
from apiserver.storage.store import NO_CLAIMS, KeyEvent, KeyValue, Page, WatchBatch
from kubraft.api.errors import ApiError, InternalError, ServiceUnavailableError, TooLargeError
from kubraft.grpc_client.call import END_OF_ANSWERS, StreamCall
from kubraft.pb.etcdserverpb import rpc_pb2 as rpc
from kubraft.pb.mvccpb import kv_pb2

COMPARE = rpc.Compare
_FIRST_KEY = b"\0"
# A member cut off from the leader ends the watch instead of keeping silent (etcd client metadata).
_REQUIRE_LEADER = (("hasleader", "true"),)


class EtcdStore:
    """Implements apiserver.storage.store.Store; see there for the guarantees."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        endpoints.on_rotate = self._abandon
        self._streams: set[_WatchStream] = set()
        self._in_order: bool | None = None
        self._leases = LeasePool(endpoints, time.monotonic)

    async def create(
        self,
        key: str,
        value: bytes,
        *,
        claims: Mapping[str, bytes] = NO_CLAIMS,
        ttl_s: int = 0,
    ) -> int:
        lease = await self._leases.lease(ttl_s) if ttl_s else 0
        response, ambiguous = await self._txn(
            [_absent(key), *map(_absent, claims)],
            [_put(key, value, lease), *(_put(k, v) for k, v in claims.items())],
            [key, *claims],
        )
        if response.succeeded:
            return int(response.header.revision)
        found = _found(response)
        if key in found:
            if ambiguous and (created := await self._created_as(key, value)):
                return created
            raise KeyExistsError(key)
        raise ClaimTakenError(next(claim for claim in claims if claim in found))

    async def replace(
        self,
        key: str,
        value: bytes,
        *,
        mod_revision: int,
        claims: Mapping[str, bytes] = NO_CLAIMS,
        releases: Sequence[str] = (),
    ) -> int:
        response, ambiguous = await self._txn(
            [_unchanged(key, mod_revision), *map(_absent, claims)],
            [
                _put(key, value),
                *(_put(k, v) for k, v in claims.items()),
                *map(_delete, releases),
            ],
            [key, *claims],
        )
        if response.succeeded:
            return int(response.header.revision)
        found = _found(response)
        current = found.get(key)
        if current is None or current.mod_revision != mod_revision:
            if ambiguous and current and current.value == value:
                return current.mod_revision
            raise RevisionMismatchError(key, current)
        raise ClaimTakenError(next(claim for claim in claims if claim in found))

    async def remove(self, key: str, *, mod_revision: int, releases: Sequence[str] = ()) -> int:
        response, ambiguous = await self._txn(
            [_unchanged(key, mod_revision)], [_delete(key), *map(_delete, releases)], [key]
        )
        if response.succeeded:
            return int(response.header.revision)
        current = _found(response).get(key)
        if ambiguous and current is None:
            return int(response.header.revision)
        raise RevisionMismatchError(key, current)

    async def find(self, key: str) -> KeyValue | None:
        response = await self._range(rpc.RangeRequest(key=_raw(key)))
        return _key_value(response.kvs[0]) if response.kvs else None

    async def range(
        self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0
    ) -> Page:
        request = rpc.RangeRequest(
            key=_raw(start or prefix),
            range_end=prefix_end(prefix),
            limit=limit,
            revision=revision,
        )
        response = await self._range(request)
        items = [_key_value(kv) for kv in response.kvs]
        return Page(items, revision or response.header.revision, response.more, response.count)

    async def revision(self) -> int:
        # A read of any key answers with the revision; this one need not exist.
        response = await self._range(rpc.RangeRequest(key=b"/registry", keys_only=True, limit=1))
        return int(response.header.revision)

    async def watch(
        self, prefix: str, *, after: int, previous: bool = False
    ) -> AsyncIterator[WatchBatch]:
        stream = _WatchStream(self._endpoints.current, prefix, after, previous=previous)
        self._streams.add(stream)
        try:
            async for batch in stream.batches():
                yield batch
        except grpc.aio.AioRpcError as error:
            self._endpoints.rotate(stream.endpoint)
            details = error.details() or str(error.code())
            raise ServiceUnavailableError(f"the store's watch broke: {details}") from error
        except ServiceUnavailableError:
            self._endpoints.rotate(stream.endpoint)
            raise
        finally:
            self._streams.discard(stream)
            stream.cancel()

    async def progress(self) -> bool:
        if not await self._progress_in_order():
            return False
        for stream in self._streams:
            stream.ask_progress()
        return True

    def suspect(self) -> None:
        self._endpoints.rotate(self._endpoints.current)

    def outdated(self, key: str) -> bool:
        del key
        return False

    async def compact(self, revision: int) -> None:
        request = rpc.CompactionRequest(revision=revision)
        with contextlib.suppress(CompactedError):
            await self._call(lambda e: e.kv.Compact, request)

    async def close(self) -> None:
        for stream in list(self._streams):
            stream.cancel()
        await self._endpoints.close()

    def _abandon(self, endpoint: Endpoint) -> None:
        for stream in self._streams:
            if stream.endpoint is endpoint:
                stream.abandon()

    async def _created_as(self, key: str, value: bytes) -> int:
        """The revision that created `key`, if it was with `value`; else 0."""
        response = await self._range(rpc.RangeRequest(key=_raw(key)))
        if not response.kvs:
            return 0
        revision = response.kvs[0].create_revision
        if response.kvs[0].mod_revision != revision:
            at_creation = rpc.RangeRequest(key=_raw(key), revision=revision)
            with contextlib.suppress(CompactedError):
                response = await self._range(at_creation)
        return int(revision) if response.kvs and response.kvs[0].value == value else 0

    async def _progress_in_order(self) -> bool:
        """Whether requested progress never overtakes events (etcd: since 3.4.31 and 3.5.13)."""
        if self._in_order is None:
            status = (await self._call(lambda e: e.maintenance.Status, rpc.StatusRequest()))[0]
            self._in_order = _version(status.version) >= (3, 5, 13)
        return self._in_order

    async def _range(self, request: rpc.RangeRequest) -> rpc.RangeResponse:
        response: rpc.RangeResponse = (await self._call(lambda e: e.kv.Range, request))[0]
        return response

    async def _txn(
        self, compare: list[rpc.Compare], success: list[rpc.RequestOp], read: list[str]
    ) -> tuple[rpc.TxnResponse, bool]:
        request = rpc.TxnRequest(compare=compare, success=success, failure=map(_get, read))
        return await self._call(lambda e: e.kv.Txn, request, WRITE_ATTEMPT_S)

    async def _call(
        self, method: Any, request: Any, attempt_s: float = READ_ATTEMPT_S
    ) -> tuple[Any, bool]:
        try:
            return await self._endpoints.call(method, request, attempt_s=attempt_s)
        except grpc.aio.AioRpcError as error:
            raise _translate(error, getattr(request, "revision", 0)) from error


class _WatchStream:
    """One watch on one member."""

    def __init__(self, endpoint: Endpoint, prefix: str, after: int, *, previous: bool) -> None:
        self.endpoint = endpoint
        # The stub's types are of grpcio's channel.
        self._call: StreamCall = cast("Any", endpoint.watch.Watch)(metadata=_REQUIRE_LEADER)
        self._asked = False
        self._given_up = False
        self._request = rpc.WatchRequest(
            create_request=rpc.WatchCreateRequest(
                key=_raw(prefix) or _FIRST_KEY,
                range_end=prefix_end(prefix),
                start_revision=after + 1,
                prev_kv=previous,
                progress_notify=True,
            )
        )

    async def batches(self) -> AsyncIterator[WatchBatch]:
        self._call.send(self._request)
        while True:
            response = await self._read()
            if response is END_OF_ANSWERS:
                raise ServiceUnavailableError("the store ended the watch")
            if response.canceled:
                if response.compact_revision:
                    raise CompactedError(response.compact_revision)
                raise ServiceUnavailableError(
                    f"the store cancelled the watch: {response.cancel_reason}"
                )
            if response.events:
                events = [_event(event) for event in response.events]
                yield WatchBatch(events[-1].revision, events)
            elif not response.created:
                yield WatchBatch(response.header.revision, ())

    async def _read(self) -> Any:
        try:
            return await self._call.read()
        except grpc.aio.AioRpcError as error:
            if self._given_up:
                raise ServiceUnavailableError(f"{self.endpoint.url} does not answer") from error
            raise

    def ask_progress(self) -> None:
        """Have the member say how far it is; who ask in one turn of the loop share a message."""
        if not self._asked:
            self._asked = True
            asyncio.get_running_loop().call_soon(self._send_ask)

    def _send_ask(self) -> None:
        self._asked = False
        self._call.send(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))

    def abandon(self) -> None:
        """End the stream from outside its task: its member does not answer."""
        self._given_up = True
        self.cancel()

    def cancel(self) -> None:
        self._call.cancel()


def _raw(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def _text(key: bytes) -> str:
    """Any bytes, and back by `_raw`: others may write keys that are no UTF-8 (store.Store)."""
    return key.decode(errors="surrogateescape")


def prefix_end(prefix: str) -> bytes:
    """The end of the range of all keys that begin with `prefix`, exclusive."""
    raw = _raw(prefix)
    if not raw:
        return _FIRST_KEY  # as an end it means: no end
    return raw[:-1] + bytes([raw[-1] + 1])  # no prefix of ours ends with 0xff


def _version(text: str) -> tuple[int, ...]:
    numbers = text.partition("-")[0].split(".")
    return tuple(int(number) for number in numbers if number.isdigit())


def _absent(key: str) -> rpc.Compare:
    return COMPARE(result=COMPARE.EQUAL, target=COMPARE.VERSION, key=_raw(key), version=0)


def _unchanged(key: str, mod_revision: int) -> rpc.Compare:
    return COMPARE(
        result=COMPARE.EQUAL, target=COMPARE.MOD, key=_raw(key), mod_revision=mod_revision
    )


def _put(key: str, value: bytes, lease: int = 0) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=_raw(key), value=value, lease=lease))


def _delete(key: str) -> rpc.RequestOp:
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=_raw(key)))


def _get(key: str) -> rpc.RequestOp:
    return rpc.RequestOp(request_range=rpc.RangeRequest(key=_raw(key)))


def _key_value(kv: kv_pb2.KeyValue) -> KeyValue:
    return KeyValue(_text(kv.key), kv.value, kv.mod_revision)


def _found(response: rpc.TxnResponse) -> dict[str, KeyValue]:
    return {
        _text(kv.key): _key_value(kv)
        for answer in response.responses
        for kv in answer.response_range.kvs
    }


def _event(event: kv_pb2.Event) -> KeyEvent:
    previous = _key_value(event.prev_kv) if event.HasField("prev_kv") else None
    deleted = event.type == kv_pb2.Event.DELETE
    kv = event.kv
    created = not deleted and kv.create_revision == kv.mod_revision
    return KeyEvent(_text(kv.key), kv.mod_revision, created, deleted, kv.value, previous)


def _translate(error: grpc.aio.AioRpcError, revision: int) -> StorageError | ApiError:
    details = error.details() or ""
    if "revision has been compacted" in details:
        return CompactedError()
    if "required revision is a future revision" in details:
        return FutureRevisionError(revision, 0)
    if "request is too large" in details:
        return TooLargeError(f"the store refused the object: {details}")
    if error.code() in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNKNOWN}:
        # No space left, too many requests, a store that stops: others may do better later.
        return ServiceUnavailableError(details or str(error.code()))
    return InternalError(f"the store refused the request: {details or error.code()}")
