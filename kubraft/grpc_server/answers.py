"""What calls answer, as frames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from kubraft.grpc_server import frames as f
from kubraft.grpc_server import headers as h
from kubraft.grpc_server.call import Call
from kubraft.grpc_server.certificate import auth_context
from kubraft.grpc_server.outlet import Outlet


class Answers:
    """A connection, as its calls see it; `on_end` is called when an answer ends a call."""

    def __init__(
        self,
        transport: asyncio.Transport,
        outlet: Outlet,
        peer_name: str,
        on_end: Callable[[Call], None],
    ) -> None:
        self._transport = transport
        self._out = outlet
        self._on_end = on_end
        self.peer_name = peer_name

    def send_head(self, call: Call, metadata: h.Metadata) -> None:
        if call.done_sent:
            return
        call.head_sent = True
        block = h.GZIP_RESPONSE if call.method.gzip else h.RESPONSE
        if metadata:
            block += b"".join(h.field(name, value) for name, value in metadata)
        self._out.write_soon(f.frame(f.HEADERS, f.END_HEADERS, call.stream, block))

    def send_data(self, call: Call, data: bytes) -> None:
        if not call.done_sent:
            self._out.data(call, data)

    def send_reply(self, call: Call, data: bytes) -> None:
        if (
            call.head_sent
            or not call.half_closed
            or call.method.gzip
            or not self._out.takes(call, len(data))
        ):
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
        self._on_end(call)

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
        return auth_context(self._transport)
