"""An HTTP request on a stream of HTTP/2, and its response. Source: RFC 9113, section 8."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from kubraft.grpc_server import frames as f
from kubraft.grpc_server import headers as h
from kubraft.grpc_server.certificate import auth_context
from kubraft.grpc_server.exchange import (
    WRITE_TIMEOUT_S,
    Exchange,
    Headers,
    HttpRequest,
    HttpResponse,
    peer_of,
)
from kubraft.grpc_server.outlet import Outlet, OutStream

_UNSENT_BYTES_MAX = 64 << 10


class Http2Exchange(Exchange, OutStream):
    def __init__(
        self, transport: asyncio.Transport, outlet: Outlet, stream: int, request: HttpRequest
    ) -> None:
        Exchange.__init__(self, request)
        OutStream.__init__(self, stream, outlet.stream_window)
        self._transport = transport
        self._out = outlet
        self.half_closed = False
        self.unread = 0

    @property
    def peer(self) -> str:
        return peer_of(self._transport)

    # From the connection.

    def receive(self, data: bytes, *, window: int) -> None:
        """Raises ConnectionFaultError: more than the stream's window was."""
        self.unread += len(data)
        if self.unread > window:
            raise f.ConnectionFaultError(f.FLOW_CONTROL_ERROR, "more than the window allows")
        self.feed(data)

    def half_close(self) -> None:
        self.half_closed = True
        self.feed_end()

    def forget(self) -> None:
        """Nobody wants the response any more."""
        self.over = True
        self._out.drop(self)
        if self.task is not None:
            self.task.cancel()

    # For the handler.

    def _send_head(self, status: int, headers: Headers) -> None:
        block = h.field(":status", str(status))
        block += b"".join(h.field(name.lower(), value) for name, value in headers)
        self._out.write_soon(f.frame(f.HEADERS, f.END_HEADERS, self.stream, block))

    async def write(self, data: bytes) -> None:
        if self.over or not data or self.request.method == "HEAD":
            return
        self._out.data(self, data)
        if self.unsent_bytes > _UNSENT_BYTES_MAX:
            await self._writable()

    async def respond(self, response: HttpResponse) -> None:
        """Stays until all is on its way: a client that takes nothing must not hold it for ever."""
        length = ("content-length", str(len(response.body)))
        self.start(response.status, (*response.headers, length))
        await self.write(response.body)
        if self.unsent_bytes:
            await self._writable()
        self.finish()

    async def _writable(self) -> None:
        """Raises ConnectionError: the client takes nothing."""
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._out.writable(self)
        except TimeoutError as error:
            raise ConnectionAbortedError from error

    def finish(self) -> None:
        if self.over:
            return
        self.over = True
        ending = f.frame(f.DATA, f.END_STREAM, self.stream, b"")
        if not self.half_closed:
            ending += f.reset(self.stream, f.NO_ERROR)
        self._out.end(self, ending)

    def abandon(self) -> None:
        if not self.over:
            self.over = True
            self._out.drop(self)
            self._out.end(self, f.reset(self.stream, f.INTERNAL_ERROR))

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return auth_context(self._transport)

    def _expected(self) -> None:
        """A client sends as far as the window goes, without being asked."""

    def _taken(self, size: int) -> None:
        self.unread -= size
        if not self.half_closed and not self.over:
            self._out.write_soon(f.window_update(self.stream, size))
