"""One client connection: HTTP/2 frames in, calls and requests run, frames out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain
from typing import cast

import grpc

from kubraft.grpc_server import frames as f
from kubraft.grpc_server import headers as h
from kubraft.grpc_server.answers import Answers
from kubraft.grpc_server.call import Call, Method
from kubraft.grpc_server.exchange import Handler, HttpRequest
from kubraft.grpc_server.exchange import run as run_exchange
from kubraft.grpc_server.guard import Guard, Limits
from kubraft.grpc_server.http2_exchange import Http2Exchange
from kubraft.grpc_server.idleness import Idleness
from kubraft.grpc_server.keepalive import Keepalive
from kubraft.grpc_server.lingering import Lingering, close
from kubraft.grpc_server.messages import RefusedMessageError, lone_message, whole_messages
from kubraft.grpc_server.outlet import Outlet, OutStream
from kubraft.grpc_server.request import Find, Refused, asked
from kubraft.grpc_server.running import run

_WINDOW_BYTES = 16 << 20


class Connection(asyncio.Protocol):
    """Talks to one client; `on_end` is called when it is gone."""

    def __init__(
        self,
        find: Find,
        http: Handler | None,
        limits: Limits,
        on_end: Callable[[Connection], None],
    ) -> None:
        self._http = http
        self._limits = limits
        self._message_bytes_max = limits.message_bytes_max
        self._stream_window = max(limits.message_bytes_max + (64 << 10), 1 << 20)
        self._on_end = on_end
        self._headers = h.HeaderReader(
            lambda fields: asked(h.request_head(fields), find, has_http=http is not None)
        )
        self._buffer = b""
        self._greeted = False
        self._last_stream = 0
        self._unacknowledged = 0
        self._pieces = h.BlockPieces()
        self._leaving = False
        self.calls: dict[int, Call] = {}
        self.exchanges: dict[int, Http2Exchange] = {}

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # Asked once: which loop is running takes a call of the system to find out.
        self._loop = loop = asyncio.get_running_loop()
        self._out = Outlet(self._transport, self._forget)
        name = transport.get_extra_info("peername")
        peer_name = f"ipv4:{name[0]}:{name[1]}" if isinstance(name, tuple) else f"unix:{name}"
        self._answers = Answers(self._transport, self._out, peer_name, self._forget)
        self._guard = Guard(self._limits, loop.time)
        self._keepalive = Keepalive(self._limits, self._ping, self._transport.abort)
        self._idleness = Idleness(self._limits.idle_s, self._busy, self._retire)
        self._out.write(
            f.settings(
                {
                    f.SETTING_STREAMS_MAX: self._limits.streams_max,
                    f.SETTING_WINDOW: self._stream_window,
                    f.SETTING_HEADER_BYTES: h.LIST_BYTES_MAX,
                }
            )
        )
        self._out.write(f.window_update(0, _WINDOW_BYTES - f.WINDOW_BYTES))

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._end_all()
        self._on_end(self)

    def _end_all(self) -> None:
        self._out.close()
        self._keepalive.stop()
        self._idleness.stop()
        for call in list(self.calls.values()):
            self._cancel(call)
        for exchange in list(self.exchanges.values()):
            exchange.forget()
        self.exchanges.clear()

    def pause_writing(self) -> None:
        self._out.pause()

    def resume_writing(self) -> None:
        self._out.resume()

    def _busy(self) -> bool:
        return bool(self.calls or self.exchanges)

    def _retire(self) -> None:
        """Nobody has asked for anything for long."""
        self.leave()
        close(self._transport)

    def _ping(self) -> None:
        self._out.write(f.frame(f.PING, 0, 0, b"kubraft!"))
        self._out.flush()

    def data_received(self, data: bytes) -> None:
        self._keepalive.heard = True
        if self._buffer:
            data = self._buffer + data
        try:
            self._buffer = data[self._read_frames(data) :]
        except f.ConnectionFaultError as fault:
            self._buffer = b""
            if isinstance(fault, h.HeadersTooLargeError) and fault.stream > self._last_stream:
                self._last_stream = fault.stream
                self._out.write(Refused(h.TOO_LARGE).frame(fault.stream))
            self._out.write(f.goaway(self._last_stream, fault.code, str(fault)))
            self._out.flush()
            self._end_all()
            Lingering(self._transport, self.connection_lost)
        else:
            self._out.flush()

    # frames in

    def _read_frames(self, data: bytes) -> int:
        at, end = 0, len(data)
        if not self._greeted:
            if data[: len(f.PREFACE)] != f.PREFACE[:end]:
                raise f.ConnectionFaultError(f.PROTOCOL_ERROR, "not an HTTP/2 client")
            if end < len(f.PREFACE):
                return 0
            self._greeted = True
            at = len(f.PREFACE)
        return f.read(data, at, self._frame)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._pieces.check(kind, stream)
        if kind == f.DATA:
            self._data(flags, stream, payload)
        elif kind == f.HEADERS:
            self._block(self._pieces.begin(flags, stream, f.unpadded(flags, payload)))
        elif kind == f.WINDOW_UPDATE:
            self._widen(stream, f.u32(payload))
        elif kind == f.RST_STREAM:
            f.u32(payload)
            self._guard.reset()
            self._give_up(stream)
        elif kind == f.PING:
            self._pinged(flags, stream, payload)
        elif kind == f.SETTINGS:
            if stream or (flags & f.ACK and payload):
                raise f.ConnectionFaultError(f.PROTOCOL_ERROR, "malformed settings")
            if not flags & f.ACK:
                self._guard.idle_frame()
                self._set(payload)
        elif kind == f.CONTINUATION:
            self._block(self._pieces.go_on(flags, payload))
        elif kind == f.PUSH_PROMISE:
            raise f.ConnectionFaultError(f.PROTOCOL_ERROR, "a client cannot push")
        else:
            self._guard.idle_frame()

    def _pinged(self, flags: int, stream: int, payload: bytes) -> None:
        if len(payload) != f.PING_BYTES or stream:
            raise f.ConnectionFaultError(f.FRAME_SIZE_ERROR, "malformed ping")
        if flags & f.ACK:
            return
        self._out.write(f.frame(f.PING, f.ACK, 0, payload))
        self._guard.ping(busy=self._busy(), spoke=self._out.spoke)
        self._out.spoke = False

    def _give_up(self, stream: int) -> None:
        """The client has reset a stream."""
        call = self.calls.get(stream)
        if call is not None:
            self._cancel(call)
        exchange = self.exchanges.pop(stream, None)
        if exchange is not None:
            exchange.forget()

    def _block(self, whole: h.Block | None) -> None:
        if whole is None:
            return
        flags, stream, block = whole
        try:
            found = self._headers.read(block)
        except h.HeadersTooLargeError as error:
            error.stream = stream
            raise
        running = self.calls.get(stream) or self.exchanges.get(stream)
        if running is not None:  # a client's trailers
            self._end_of_requests(running)
            return
        if stream <= self._last_stream and stream & 1:
            return  # trailers of a call that is over
        if not stream & 1:
            raise f.ConnectionFaultError(f.PROTOCOL_ERROR, f"stream {stream} from a client")
        self._last_stream = stream
        self._idleness.used = True
        if self._leaving or len(self.calls) + len(self.exchanges) >= self._limits.streams_max:
            self._out.write(f.reset(stream, f.REFUSED_STREAM))
        elif isinstance(found, Method):
            self._begin(stream, found, ended=bool(flags & f.END_STREAM))
        elif isinstance(found, HttpRequest):
            self._begin_exchange(stream, found, ended=bool(flags & f.END_STREAM))
        else:
            self._out.write(found.frame(stream))

    def _begin(self, stream: int, method: Method, *, ended: bool) -> None:
        call = self.calls[stream] = Call(self._answers, stream, method, self._out.stream_window)
        if method.timeout_s is not None:
            call.timer = self._loop.call_later(method.timeout_s, self._expire, call)
        if method.handler.request_streaming:
            call.task = self._loop.create_task(run(call, None))
        if ended:
            self._end_of_requests(call)

    def _begin_exchange(self, stream: int, request: HttpRequest, *, ended: bool) -> None:
        assert self._http is not None
        exchange = Http2Exchange(self._transport, self._out, stream, request)
        self.exchanges[stream] = exchange
        exchange.task = self._loop.create_task(run_exchange(self._http, exchange))
        if ended:
            exchange.half_close()

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        self._unacknowledged += len(payload)
        if self._unacknowledged > _WINDOW_BYTES // 2:
            self._out.write(f.window_update(0, self._unacknowledged))
            self._unacknowledged = 0
        if not payload and not flags & f.END_STREAM:
            self._guard.idle_frame()
        if flags & f.PADDED:
            payload = self._unpadded(flags, stream, payload)
        call = self.calls.get(stream)
        if call is None:
            self._data_of_exchange(flags, stream, payload)
            return
        if call.half_closed:
            raise f.ConnectionFaultError(f.STREAM_CLOSED, "data after the end")
        if not call.partial:
            message = lone_message(payload, self._message_bytes_max)
            if message is not None:
                self._take(call, message, len(payload))
                payload = b""
        if payload:
            call.partial += payload
            if not self._take_whole(call):
                return
        if flags & f.END_STREAM:
            self._end_of_requests(call)

    def _unpadded(self, flags: int, stream: int, payload: bytes) -> bytes:
        """The content; the padding's part of the window is given back at once."""
        found = f.unpadded(flags & f.PADDED, payload)
        if not flags & f.END_STREAM:
            self._out.write(f.window_update(stream, len(payload) - len(found)))
        return found

    def _data_of_exchange(self, flags: int, stream: int, payload: bytes) -> None:
        exchange = self.exchanges.get(stream)
        if exchange is None:
            if stream > self._last_stream or not stream & 1:
                raise f.ConnectionFaultError(f.PROTOCOL_ERROR, f"data before headers of {stream}")
            return
        if exchange.half_closed:
            raise f.ConnectionFaultError(f.STREAM_CLOSED, "data after the end")
        if payload:
            exchange.receive(payload, window=self._stream_window)
        if flags & f.END_STREAM:
            exchange.half_close()

    def _take_whole(self, call: Call) -> bool:
        """Take whole messages out of what came; False where the call was ended for it."""
        try:
            most, gzip = self._message_bytes_max, call.method.gzip
            for message, size in whole_messages(call.partial, most, gzip=gzip):
                self._take(call, message, size)
        except RefusedMessageError as refusal:
            self._refuse(call, refusal.code, str(refusal))
            return False
        if len(call.partial) > self._stream_window:
            raise f.ConnectionFaultError(f.FLOW_CONTROL_ERROR, "more than the window allows")
        return True

    def _take(self, call: Call, message: bytes, size: int) -> None:
        if call.method.handler.request_streaming:
            call.put(message, size)
        elif call.task is None:
            call.task = self._loop.create_task(run(call, message))
        else:
            self._refuse(call, grpc.StatusCode.INTERNAL, "more than one request")

    def _end_of_requests(self, running: Call | Http2Exchange) -> None:
        if running.half_closed:
            return
        if isinstance(running, Call) and running.task is None:
            running.half_closed = True
            self._refuse(running, grpc.StatusCode.INTERNAL, "no request")
        else:
            running.half_close()

    def _refuse(self, call: Call, code: grpc.StatusCode, message: str) -> None:
        call.end(code, message)
        if call.task is not None:
            call.task.cancel()

    def _expire(self, call: Call) -> None:
        self._refuse(call, grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _cancel(self, call: Call) -> None:
        """The client is not interested any more, or must not be."""
        self._forget(call)
        self._out.drop(call)
        if call.task is not None:
            call.task.cancel()

    def _forget(self, sent: OutStream) -> None:
        call = self.calls.pop(sent.stream, None)
        if call is not None:
            call.done_sent = True
            call.finished()
        else:
            self.exchanges.pop(sent.stream, None)

    def _widen(self, stream: int, increment: int) -> None:
        if not increment:
            raise f.ConnectionFaultError(f.PROTOCOL_ERROR, "window update of nothing")
        found = self.calls.get(stream) or self.exchanges.get(stream)
        if not stream or found is not None:
            self._out.widen(found, increment)

    def _set(self, payload: bytes) -> None:
        for number, value in f.parse_settings(payload):
            if number == f.SETTING_WINDOW:
                streams = chain(self.calls.values(), self.exchanges.values())
                self._out.set_stream_window(value, streams)
            elif number == f.SETTING_FRAME_BYTES:
                self._out.set_frame_bytes(value)
        self._out.write(f.frame(f.SETTINGS, f.ACK, 0, b""))

    def leave(self) -> None:
        """Take no new calls."""
        self._leaving = True
        self._out.write(f.goaway(self._last_stream, f.NO_ERROR))
        self._out.flush()

    def abort(self) -> None:
        self._transport.abort()

    def cut(self) -> None:
        """End what still runs, and the connection."""
        for call in list(self.calls.values()):
            self._refuse(call, grpc.StatusCode.UNAVAILABLE, "server stopped")
        for exchange in list(self.exchanges.values()):
            exchange.abandon()
            if exchange.task is not None:
                exchange.task.cancel()
        self._out.flush()
        close(self._transport)

    def running(self) -> list[asyncio.Task[None]]:
        """The tasks of what runs."""
        streams: Iterator[Call | Http2Exchange]
        streams = chain(self.calls.values(), self.exchanges.values())
        return [stream.task for stream in streams if stream.task is not None]
