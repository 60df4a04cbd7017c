"""Watch streams as the recording clients use them: several watches on one, fragments, progress."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from kubraft.pb.etcdserverpb import rpc_pb2, rpc_pb2_grpc
from kubraft.pb.mvccpb import kv_pb2
from tests.robustness.history import Event, Kv, Watch, WatchRequest, WatchResponse

# A stream that says nothing for so long is given up; progress is asked for twice in this time.
SILENCE_S = 3.0
# A stream that cannot even be opened ends in time too; long ones are taken up again.
_STREAM_S_MAX = 20.0

_ASK = rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest())
_EVERY_WATCH = -1
# Not in the stubs of the types.
END_OF_STREAM: Any = grpc.aio.EOF  # type: ignore[attr-defined]


class WatchStream:
    """One stream of one member; what it says goes into `watches`, a watch each request."""

    def __init__(
        self, channel: grpc.aio.Channel, watches: Sequence[Watch], *, eager: bool = False
    ) -> None:
        """An eager one asks for progress at once, and again after all events."""
        self._channel = channel
        self._eager = eager
        # Created in the order of their requests, which is when they get their ids.
        self._pending = list(watches)
        self._open: dict[int, Watch] = {}
        self._fragments: dict[int, list[Event]] = {}

    async def run(self, stop: Callable[[Watch], bool]) -> None:
        """Until `stop` says so of a watch that got a response, or all watches have ended."""
        # The stream says in two ways that it has ended.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async with contextlib.aclosing(self._responses()) as responses:
                async for response in responses:
                    if not self._take(response, stop):
                        return

    def _take(self, response: rpc_pb2.WatchResponse, stop: Callable[[Watch], bool]) -> bool:
        """Note one response; whether to go on."""
        now = asyncio.get_running_loop().time()
        if response.created and self._pending:
            self._open[response.watch_id] = self._pending.pop(0)
        if response.fragment:
            parts = self._fragments.setdefault(response.watch_id, [])
            parts += map(_event, response.events)
            return True
        told = self._open.values()
        if response.watch_id != _EVERY_WATCH:
            told = [self._open[response.watch_id]] if response.watch_id in self._open else []  # type: ignore[assignment]
        going_on = True
        for watch in list(told):
            earlier = self._fragments.pop(response.watch_id, [])
            watch.responses.append(_watch_response(response, earlier, now))
            going_on = going_on and not stop(watch)
        if response.canceled:
            self._open.pop(response.watch_id, None)
        return going_on and bool(self._open or self._pending)

    async def _responses(self) -> AsyncGenerator[rpc_pb2.WatchResponse]:
        """Until the member says nothing any more, not even when it is asked for progress."""
        stub: Any = rpc_pb2_grpc.WatchStub(self._channel)
        stream = stub.Watch(timeout=_STREAM_S_MAX)
        reading: asyncio.Future[Any] | None = None
        try:
            for watch in self._pending:
                await stream.write(_watch_request(watch.request))
            if self._eager:
                await stream.write(_ASK)
            while True:
                reading = asyncio.ensure_future(stream.read())
                if not await _is_done(reading):
                    await stream.write(_ASK)
                    if not await _is_done(reading):
                        return
                if (response := reading.result()) is END_OF_STREAM:
                    return
                yield response
                if self._eager and response.events:
                    await stream.write(_ASK)
        finally:
            stream.cancel()
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def _is_done(reading: asyncio.Future[Any]) -> bool:
    done, _ = await asyncio.wait([reading], timeout=SILENCE_S / 2)
    return bool(done)


def kv_of(kv: kv_pb2.KeyValue) -> Kv:
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
        fragment=request.fragment,
    )
    if request.no_put:
        create.filters.append(rpc_pb2.WatchCreateRequest.NOPUT)
    if request.no_delete:
        create.filters.append(rpc_pb2.WatchCreateRequest.NODELETE)
    return rpc_pb2.WatchRequest(create_request=create)


def _event(event: kv_pb2.Event) -> Event:
    return Event(
        event.type == kv_pb2.Event.DELETE,
        kv_of(event.kv),
        kv_of(event.prev_kv) if event.HasField("prev_kv") else None,
    )


def _watch_response(
    response: rpc_pb2.WatchResponse, earlier: Sequence[Event], at: float
) -> WatchResponse:
    """A response with the fragments that came before it."""
    events = (*earlier, *map(_event, response.events))
    is_news = bool(events) or response.created or response.canceled
    return WatchResponse(
        at,
        response.header.revision,
        events,
        created=response.created,
        progress=not is_news,
        compacted=response.compact_revision,
    )
