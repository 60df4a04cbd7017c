"""One client connection: HTTP/2 frames in, calls run, frames out."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import grpc

from kubraft.grpc_server import frames as f
from kubraft.grpc_server import headers as h
from kubraft.grpc_server.call import PREFIX_BYTES, Call, Method
from kubraft.grpc_server.outlet import Outlet
from kubraft.grpc_server.running import run

STREAMS_MAX = 16_384
_WINDOW_BYTES = 16 << 20
Find = Callable[[str], Any]


class Connection(asyncio.Protocol):
    """Talks to one client; `on_end` is called when it is gone."""

    def __init__(
        self, find: Find, message_bytes_max: int, on_end: Callable[[Connection], None]
    ) -> None:
        self._find = find
        self._message_bytes_max = message_bytes_max
        self._stream_window = max(message_bytes_max + (64 << 10), 1 << 20)
        self._on_end = on_end
        self._headers = h.HeaderReader(self._method)
        self._buffer = b""
        self._greeted = False
        self._last_stream = 0
        self._unacknowledged = 0
        self._block: tuple[int, int, bytes] | None = None
        self._leaving = False
        self.calls: dict[int, Call] = {}
        self.peer_name = ""

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._out = Outlet(self._transport, self._forget)
        name = transport.get_extra_info("peername")
        self.peer_name = f"ipv4:{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)
        self._out.write(
            f.settings(
                {
                    f.SETTING_STREAMS_MAX: STREAMS_MAX,
                    f.SETTING_WINDOW: self._stream_window,
                    f.SETTING_HEADER_BYTES: h.LIST_BYTES_MAX,
                }
            )
        )
        self._out.write(f.window_update(0, _WINDOW_BYTES - f.WINDOW_BYTES))

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._out.close()
        for call in list(self.calls.values()):
            self._cancel(call)
        self._on_end(self)

    def pause_writing(self) -> None:
        self._out.pause()

    def resume_writing(self) -> None:
        self._out.resume()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        try:
            self._buffer = data[self._read_frames(data) :]
        except f.ConnectionFaultError as fault:
            self._buffer = b""
            self._out.write(f.goaway(self._last_stream, fault.code, str(fault)))
            self._out.flush()
            self._transport.close()
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
        while end - at >= f.HEAD_BYTES:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > f.FRAME_BYTES:
                raise f.ConnectionFaultError(f.FRAME_SIZE_ERROR, f"frame of {length} bytes")
            start = at + f.HEAD_BYTES
            if start + length > end:
                break
            stream = int.from_bytes(data[at + 5 : start], "big") & f.WINDOW_BYTES_MAX
            at, kind, flags = start + length, data[at + 3], data[at + 4]
            self._frame(kind, flags, stream, data[start:at])
        return at

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and (kind != f.CONTINUATION or stream != self._block[0]):
            raise f.ConnectionFaultError(f.PROTOCOL_ERROR, "headers were not continued")
        if kind == f.DATA:
            self._data(flags, stream, payload)
        elif kind == f.HEADERS:
            self._begin_headers(flags, stream, f.unpadded(flags, payload))
        elif kind == f.WINDOW_UPDATE:
            self._widen(stream, f.u32(payload))
        elif kind == f.RST_STREAM:
            f.u32(payload)
            call = self.calls.get(stream)
            if call is not None:
                self._cancel(call)
        elif kind == f.PING:
            if not flags & f.ACK:
                self._out.write(f.frame(f.PING, f.ACK, 0, payload))
        elif kind == f.SETTINGS:
            if not flags & f.ACK:
                self._set(payload)
        elif kind == f.CONTINUATION:
            if self._block is None:
                raise f.ConnectionFaultError(f.PROTOCOL_ERROR, "nothing to continue")
            first, first_flags, block = self._block
            self._begin_headers(first_flags | flags & f.END_HEADERS, first, block + payload)
        elif kind == f.PUSH_PROMISE:
            raise f.ConnectionFaultError(f.PROTOCOL_ERROR, "a client cannot push")

    def _begin_headers(self, flags: int, stream: int, block: bytes) -> None:
        if len(block) > h.LIST_BYTES_MAX:
            raise f.ConnectionFaultError(f.ENHANCE_YOUR_CALM, "headers too large")
        if not flags & f.END_HEADERS:
            self._block = (stream, flags, block)
            return
        self._block = None
        method = self._headers.read(block)
        call = self.calls.get(stream)
        if call is not None:  # a client's trailers
            self._half_close(call)
            return
        if stream <= self._last_stream and stream & 1:
            return  # trailers of a call that is over
        if not stream & 1:
            raise f.ConnectionFaultError(f.PROTOCOL_ERROR, f"stream {stream} from a client")
        self._last_stream = stream
        if self._leaving or len(self.calls) >= STREAMS_MAX:
            self._out.write(f.reset(stream, f.REFUSED_STREAM))
            return
        self._begin(stream, method, ended=bool(flags & f.END_STREAM))

    def _method(self, head: h.RequestHead) -> Method | tuple[int, str]:
        """What to run, or the status to refuse with; -1: not gRPC."""
        if head.method != "POST" or not head.content_type.startswith("application/grpc"):
            return -1, ""
        if head.encoding not in ("", "identity"):
            return grpc.StatusCode.UNIMPLEMENTED.value[0], f"no decompressor for {head.encoding}"
        handler = self._find(head.path)
        if handler is None:
            _, _, name = head.path.rpartition("/")
            service = head.path.removesuffix(f"/{name}").lstrip("/")
            message = f"unknown method {name} for service {service}"
            return grpc.StatusCode.UNIMPLEMENTED.value[0], message
        return Method(handler, head.metadata, head.timeout_s)

    def _begin(self, stream: int, method: Method | tuple[int, str], *, ended: bool) -> None:
        if isinstance(method, tuple):
            code, message = method
            block = h.UNSUPPORTED_MEDIA if code < 0 else h.RESPONSE + h.trailers(code, message)
            self._out.write(f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, stream, block))
            return
        call = self.calls[stream] = Call(self, stream, method, self._out.stream_window)
        if method.timeout_s is not None:
            loop = asyncio.get_running_loop()
            call.timer = loop.call_later(method.timeout_s, self._expire, call)
        if method.handler.request_streaming:
            call.task = asyncio.create_task(run(call, None))
        if ended:
            self._half_close(call)

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        self._unacknowledged += len(payload)
        if self._unacknowledged > _WINDOW_BYTES // 2:
            self._out.write(f.window_update(0, self._unacknowledged))
            self._unacknowledged = 0
        call = self.calls.get(stream)
        if call is None:
            if stream > self._last_stream:
                raise f.ConnectionFaultError(f.PROTOCOL_ERROR, f"data before headers of {stream}")
            return
        if flags & f.PADDED:
            payload = f.unpadded(flags & f.PADDED, payload)
        if not call.partial and len(payload) >= PREFIX_BYTES:
            size = int.from_bytes(payload[1:PREFIX_BYTES], "big")
            if not payload[0] and len(payload) == PREFIX_BYTES + size <= self._message_bytes_max:
                self._take(call, payload[PREFIX_BYTES:])
                payload = b""
        if payload:
            call.partial += payload
            if not self._take_whole(call):
                return
        if flags & f.END_STREAM:
            self._half_close(call)

    def _take_whole(self, call: Call) -> bool:
        """Take whole messages out of what came; False where the call was ended for it."""
        partial = call.partial
        while len(partial) >= PREFIX_BYTES:
            size = int.from_bytes(partial[1:PREFIX_BYTES], "big")
            if partial[0]:
                self._refuse(call, grpc.StatusCode.UNIMPLEMENTED, "compressed message")
                return False
            if size > self._message_bytes_max:
                # Source: grpc-go, the text a client of etcd sees.
                message = (
                    f"grpc: received message larger than max ({size} vs. {self._message_bytes_max})"
                )
                self._refuse(call, grpc.StatusCode.RESOURCE_EXHAUSTED, message)
                return False
            end = PREFIX_BYTES + size
            if len(partial) < end:
                break
            message_bytes = bytes(partial[PREFIX_BYTES:end])
            del partial[:end]
            self._take(call, message_bytes)
        if len(partial) > self._stream_window:
            raise f.ConnectionFaultError(f.FLOW_CONTROL_ERROR, "more than the window allows")
        return True

    def _take(self, call: Call, message: bytes) -> None:
        if call.method.handler.request_streaming:
            call.put(message)
        elif call.task is None:
            call.task = asyncio.create_task(run(call, message))
        else:
            self._refuse(call, grpc.StatusCode.INTERNAL, "more than one request")

    def _half_close(self, call: Call) -> None:
        if call.task is None:
            self._refuse(call, grpc.StatusCode.INTERNAL, "no request")
        elif not call.half_closed:
            call.half_close()

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

    def _forget(self, call: Call) -> None:
        if self.calls.pop(call.stream, None) is not None:
            call.done_sent = True
            call.finished()

    def _widen(self, stream: int, increment: int) -> None:
        if not increment:
            raise f.ConnectionFaultError(f.PROTOCOL_ERROR, "window update of nothing")
        call = self.calls.get(stream)
        if not stream or call is not None:
            self._out.widen(call, increment)

    def _set(self, payload: bytes) -> None:
        for number, value in f.parse_settings(payload):
            if number == f.SETTING_WINDOW:
                self._out.set_stream_window(value, self.calls.values())
            elif number == f.SETTING_FRAME_BYTES:
                self._out.set_frame_bytes(value)
        self._out.write(f.frame(f.SETTINGS, f.ACK, 0, b""))

    # what a call asks

    def send_head(self, call: Call, metadata: h.Metadata) -> None:
        if call.done_sent:
            return
        call.head_sent = True
        block = h.RESPONSE
        if metadata:
            block += b"".join(h.field(name, value) for name, value in metadata)
        self._out.write_soon(f.frame(f.HEADERS, f.END_HEADERS, call.stream, block))

    def send_data(self, call: Call, data: bytes) -> None:
        if not call.done_sent:
            self._out.data(call, data)

    def send_reply(self, call: Call, data: bytes) -> None:
        if call.head_sent or not call.half_closed or not self._out.takes(call, len(data)):
            self.send_head(call, ())
            self.send_data(call, data)
            self.send_end(call, 0, "", ())
            return
        stream = call.stream
        call.done_sent = True
        self._out.write_soon(
            b"".join(
                (
                    f.head(len(h.RESPONSE), f.HEADERS, f.END_HEADERS, stream),
                    h.RESPONSE,
                    f.head(len(data), f.DATA, 0, stream),
                    data,
                    f.head(len(h.OK), f.HEADERS, f.END_HEADERS | f.END_STREAM, stream),
                    h.OK,
                )
            )
        )
        self._forget(call)

    def send_end(self, call: Call, code: int, message: str, metadata: h.Metadata) -> None:
        block = h.trailers(code, message, metadata) if code or metadata else h.OK
        if not call.head_sent:
            block = h.RESPONSE + block
        call.done_sent = True
        ending = f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, call.stream, block)
        if not call.half_closed:
            ending += f.reset(call.stream, f.NO_ERROR)
        self._out.end(call, ending)

    def taken(self, call: Call, size: int) -> None:
        if not call.half_closed and not call.done_sent:
            self._out.write_soon(f.window_update(call.stream, size))

    async def writable(self, call: Call) -> None:
        await self._out.writable(call)

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        tls = self._transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if not certificate:
            return {}
        names = [
            value.encode()
            for part in tls.getpeercert().get("subject", ())
            for key, value in part
            if key == "commonName"
        ]
        pem = ssl.DER_cert_to_PEM_cert(certificate).encode()
        return {"x509_common_name": names, "x509_pem_cert": [pem]}

    # leaving

    def leave(self) -> None:
        """Take no new calls."""
        self._leaving = True
        self._out.write(f.goaway(self._last_stream, f.NO_ERROR))
        self._out.flush()

    def cut(self) -> None:
        """End what still runs, and the connection."""
        for call in list(self.calls.values()):
            self._refuse(call, grpc.StatusCode.UNAVAILABLE, "server stopped")
        self._out.flush()
        self._transport.close()
