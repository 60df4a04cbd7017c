"""One connection to a server: calls out, frames in, answers to their calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from kubraft.grpc_client import failure
from kubraft.grpc_client.call import Call
from kubraft.grpc_client.failure import CallError
from kubraft.grpc_client.response import ResponseHead, response_head
from kubraft.grpc_server import frames as f
from kubraft.grpc_server import headers as h
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.keepalive import Keepalive
from kubraft.grpc_server.messages import RefusedMessageError, lone_message, whole_messages
from kubraft.grpc_server.outlet import Outlet

_WINDOW_BYTES = 16 << 20
_STREAM_WINDOW_BYTES = 4 << 20
# A stream whose reader has left so much unread gets no more until that is read.
_UNREAD_BYTES_MAX = 16 << 20
_STREAM_MAX = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Events:
    """What a connection tells its owner: it is usable, it takes no more calls, it is gone."""

    ready: Callable[[Connection], None]
    leaving: Callable[[Connection], None]
    lost: Callable[[Connection, str], None]


class Connection(asyncio.Protocol):
    """Implements call.Line. It is usable once the server has spoken: a paused one never does."""

    def __init__(self, limits: Limits, events: Events) -> None:
        self._limits = limits
        self._events = events
        self._headers: h.HeaderReader[ResponseHead] = h.HeaderReader(response_head)
        self._pieces = h.BlockPieces()
        self._buffer = b""
        self._unacknowledged = 0
        self._next_stream = 1
        self._streams_max = limits.streams_max
        self._ready = False
        self._leaving = False
        self._fault = ""
        self._calls: dict[int, Call] = {}
        # More than the server takes at once.
        self._held: deque[Call] = deque()

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._out = Outlet(self._transport, lambda _: None)
        self._keepalive = Keepalive(self._limits, self._ping, self._fail_silent)
        settings = {
            f.SETTING_PUSH: 0,
            f.SETTING_WINDOW: _STREAM_WINDOW_BYTES,
            f.SETTING_HEADER_BYTES: h.LIST_BYTES_MAX,
        }
        self._out.write(f.PREFACE + f.settings(settings))
        self._out.write(f.window_update(0, _WINDOW_BYTES - f.WINDOW_BYTES))
        self._out.flush()

    def connection_lost(self, error: Exception | None) -> None:
        cause = self._fault or failure.cause_of(error, "connection lost")
        self._leaving = True
        self._out.close()
        self._keepalive.stop()
        calls, self._calls = self._calls, {}
        held, self._held = self._held, deque()
        self._events.lost(self, cause)
        for call in calls.values():
            call.end(failure.lost(cause, sent=True))
        for call in held:
            call.end(failure.lost(cause, sent=False))

    def pause_writing(self) -> None:
        self._out.pause()

    def resume_writing(self) -> None:
        self._out.resume()

    def data_received(self, data: bytes) -> None:
        self._keepalive.heard = True
        if self._buffer:
            data = self._buffer + data
        try:
            self._buffer = data[f.read(data, 0, self._frame) :]
        except f.ConnectionFaultError as fault:
            self._buffer = b""
            self._out.write(f.goaway(0, fault.code, str(fault)))
            self._out.flush()
            self._events.leaving(self)
            self.abort(f"the server broke HTTP/2: {fault}")
        else:
            self._out.flush()

    def abort(self, cause: str) -> None:
        """End the connection and its calls."""
        self._fault = cause
        self._transport.abort()

    # Keep-alive: a server counts pings without calls as an attack (gRFC A9).

    def _ping(self) -> None:
        if not self._calls:
            self._keepalive.heard = True
            return
        self._out.write(f.frame(f.PING, 0, 0, b"kubraft!"))
        self._out.flush()

    def _fail_silent(self) -> None:
        self.abort(failure.NO_ANSWER)

    # calls

    def begin(self, call: Call) -> None:
        """Send a call's headers and first message, or hold it until the server takes more."""
        call.line = self
        if len(self._calls) >= self._streams_max:
            self._held.append(call)
            return
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        call.stream = stream
        call.window = self._out.stream_window
        self._calls[stream] = call
        self._send_first(call, stream)
        if self._next_stream > _STREAM_MAX:
            self._leave()

    def _send_first(self, call: Call, stream: int) -> None:
        block, data = call.block, call.request
        headers = f.head(len(block), f.HEADERS, f.END_HEADERS, stream) + block
        if call.half_closed and self._out.takes(call, len(data)):
            ending = f.head(len(data), f.DATA, f.END_STREAM, stream)
            self._out.write_soon(headers + ending + data)
            return
        self._out.write_soon(headers)
        if data:
            self._out.data(call, data)
        if call.half_closed:
            self._out.end(call, f.frame(f.DATA, f.END_STREAM, stream, b""))
        call.request = b""

    def send(self, call: Call, data: bytes) -> None:
        if call.stream:
            self._out.data(call, data)
        else:
            call.request += data

    def give_up(self, call: Call) -> None:
        if self._calls.pop(call.stream, None) is None:
            if call in self._held:
                self._held.remove(call)
            return
        self._out.drop(call)
        self._out.write_soon(f.reset(call.stream, f.CANCEL))
        self._ended_one()

    def taken(self, call: Call) -> None:
        self._give_back(call)

    def _give_back(self, call: Call) -> None:
        if call.owed > _STREAM_WINDOW_BYTES // 2 and call.unread_bytes < _UNREAD_BYTES_MAX:
            self._out.write_soon(f.window_update(call.stream, call.owed))
            call.owed = 0

    def _ended_one(self) -> None:
        while self._held and len(self._calls) < self._streams_max:
            self.begin(self._held.popleft())
        if self._leaving and not self._calls:
            self._transport.close()

    def _leave(self) -> None:
        """Take no more calls; those that run may end."""
        self._leaving = True
        held, self._held = self._held, deque()
        self._events.leaving(self)
        for call in held:
            call.end(failure.lost("the server is leaving", sent=False))
        if not self._calls:
            self._transport.close()

    # frames in

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._pieces.check(kind, stream)
        if kind == f.DATA:
            self._data(flags, stream, payload)
        elif kind == f.HEADERS:
            self._block(self._pieces.begin(flags, stream, f.unpadded(flags, payload)))
        elif kind == f.CONTINUATION:
            self._block(self._pieces.go_on(flags, payload))
        elif kind == f.WINDOW_UPDATE:
            found = self._calls.get(stream)
            if not stream or found is not None:
                self._out.widen(found, f.u32(payload))
        elif kind == f.RST_STREAM:
            self._finish(self._calls.get(stream), failure.of_reset(f.u32(payload)))
        elif kind == f.PING:
            if not flags & f.ACK:
                self._out.write(f.frame(f.PING, f.ACK, 0, payload))
        elif kind == f.SETTINGS:
            if not flags & f.ACK:
                self._set(payload)
        elif kind == f.GOAWAY:
            self._goaway(payload)
        elif kind == f.PUSH_PROMISE:
            raise f.ConnectionFaultError(f.PROTOCOL_ERROR, "a push that nobody wanted")

    def _set(self, payload: bytes) -> None:
        for number, value in f.parse_settings(payload):
            if number == f.SETTING_WINDOW:
                self._out.set_stream_window(value, self._calls.values())
            elif number == f.SETTING_FRAME_BYTES:
                self._out.set_frame_bytes(value)
            elif number == f.SETTING_STREAMS_MAX:
                self._streams_max = min(value, self._limits.streams_max)
        self._out.write(f.frame(f.SETTINGS, f.ACK, 0, b""))
        if not self._ready:
            self._ready = True
            self._events.ready(self)
        self._ended_one()

    def _goaway(self, payload: bytes) -> None:
        """The server leaves; calls above the stream that it names were not looked at."""
        last = f.u32(payload[:4])
        calls = [call for stream, call in self._calls.items() if stream > last]
        for call in calls:
            self._calls.pop(call.stream, None)
            self._out.drop(call)
            call.end(failure.lost("the server is leaving", sent=False))
        self._leave()

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self._unacknowledged += size
        if self._unacknowledged > _WINDOW_BYTES // 2:
            self._out.write(f.window_update(0, self._unacknowledged))
            self._unacknowledged = 0
        call = self._calls.get(stream)
        if call is None:
            return  # given up
        if call.head is None:
            raise f.ConnectionFaultError(f.PROTOCOL_ERROR, f"data before headers of {stream}")
        call.owed += size
        self._messages(call, f.unpadded(flags & f.PADDED, payload))
        if flags & f.END_STREAM:
            self._finish(call, failure.of_status(13, "an answer without its status", ()))
        else:
            self._give_back(call)

    def _messages(self, call: Call, payload: bytes) -> None:
        bytes_max = self._limits.message_bytes_max
        if not call.partial:
            message = lone_message(payload, bytes_max)
            if message is not None:
                call.put(message)
                return
        call.partial += payload
        try:
            for message, _ in whole_messages(call.partial, bytes_max, gzip=False):
                call.put(message)
        except RefusedMessageError as refusal:
            self._refuse(call, CallError(refusal.code, str(refusal)))

    def _block(self, whole: h.Block | None) -> None:
        if whole is None:
            return
        flags, stream, block = whole
        head = self._headers.read(block)
        call = self._calls.get(stream)
        if call is None:
            return  # given up
        if flags & f.END_STREAM:
            self._finish(call, head.failure())
        elif call.head is None and (refusal := head.refusal()) is not None:
            if head.http_status is None or head.http_status >= 200:  # others only announce one
                self._refuse(call, refusal)
        else:
            call.head = head

    def _refuse(self, call: Call, error: CallError) -> None:
        """End a call from this side."""
        if not call.over:
            self.give_up(call)
            call.end(error)

    def _finish(self, call: Call | None, error: CallError | None) -> None:
        """The server ended a call."""
        if call is None or self._calls.pop(call.stream, None) is None:
            return
        if call.unsent or not call.half_closed:
            self._out.drop(call)
            self._out.write(f.reset(call.stream, f.NO_ERROR))
        call.end(error)
        self._ended_one()
