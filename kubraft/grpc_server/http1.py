"""A client connection that speaks HTTP/1.1: one request after the other. Source: RFC 9112.

`http1_reader` knows what clients send; here are the socket, the limits, the handler's task and
the response, which goes out in one write where it is all there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, cast

from kubraft.grpc_server.certificate import auth_context
from kubraft.grpc_server.exchange import (
    WRITE_TIMEOUT_S,
    Exchange,
    Handler,
    Headers,
    HttpRequest,
    HttpResponse,
    peer_of,
    run,
    target,
)
from kubraft.grpc_server.http1_head import checked, date, phrase, shown, status_line
from kubraft.grpc_server.http1_reader import End, Head, MalformedError, RequestReader
from kubraft.grpc_server.lazy_timer import LazyTimer
from kubraft.grpc_server.lingering import Lingering, close
from kubraft.grpc_server.tunnel import Tunnel, UpgradeError

# A request's head has so long to come; a connection without a request stays open so long.
HEAD_TIMEOUT_S = 30.0
IDLE_TIMEOUT_S = 300.0
# What may be here of a body, or of later requests, before the client is held up.
_UNREAD_BYTES_MAX = 256 << 10
# A client that has closed its side has so long to get its answer.
_HALF_CLOSED_S = 5.0
_BODILESS: Final = frozenset((204, 304))
_UNTIL_END: Final = -1


class Http1Connection(asyncio.Protocol):
    """Talks to one client; `on_end` is called when it is gone."""

    def __init__(
        self,
        handler: Handler,
        on_end: Callable[[Http1Connection], None],
        idle_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        self._handler = handler
        self._idle_s = idle_s
        self._idle = False
        self._on_end = on_end
        self._reader = RequestReader()
        self._exchange: _Exchange | None = None
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()
        self._unread = 0
        self._head: Head | None = None
        self._invited = False
        # What is to come of the response's body; None for chunks, _UNTIL_END where closing ends it.
        self._left: int | None = 0
        self._closes = False
        self._holding = False
        self._eof = False
        self._leaving = False

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._closing = LazyTimer(self._loop, partial(close, self.transport))
        self._closing.set(HEAD_TIMEOUT_S)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._closing.stop()
        self._room.set()
        if self._exchange is not None:
            self._exchange.over = True
            if self._exchange.task is not None:
                self._exchange.task.cancel()
        self._on_end(self)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def eof_received(self) -> bool:
        """A client that says no more may wait for its answer, but not for a stream."""
        self._eof = True
        exchange = self._exchange
        if exchange is None or exchange.head_sent or self.secure:
            return False
        self._closing.set(_HALF_CLOSED_S)
        return True

    def data_received(self, data: bytes) -> None:
        self._reader.receive(data)
        self._advance()
        if self._idle and self._exchange is None:  # another head has begun
            self._idle = False
            self._closing.set(HEAD_TIMEOUT_S)

    # requests in

    @property
    def secure(self) -> bool:
        return self.transport.get_extra_info("ssl_object") is not None

    def _advance(self) -> None:
        """Act on what came, as far as it is whole and its turn has come."""
        try:
            while not self.transport.is_closing():
                event = self._reader.next()
                if event is None:
                    break
                self._act(event)
        except MalformedError as error:
            self._refuse(error.status, str(error))
        self._hold()

    def _act(self, event: Head | bytes | End) -> None:
        if isinstance(event, bytes):
            self._unread += len(event)
            assert self._exchange is not None
            self._exchange.feed(event)
        elif isinstance(event, Head):
            self._begin(event)
        elif self._exchange is not None:
            self._exchange.feed_end()

    def _begin(self, head: Head) -> None:
        self._closing.put_off()
        self._idle = False
        self._head, self._invited = head, False
        try:
            path, query = target(head.target)
        except ValueError as error:
            raise MalformedError(str(error)) from error
        request = HttpRequest(head.method, path, query, "", head.headers, secure=self.secure)
        exchange = self._exchange = _Exchange(self, request)
        exchange.task = asyncio.create_task(run(self._handler, exchange))

    def _refuse(self, status: int, cause: str) -> None:
        """Say what is wrong with the request, unless an answer is already on its way."""
        exchange = self._exchange
        if exchange is None or not exchange.head_sent:
            body = f"{status} {phrase(status)}: {cause}\n".encode()
            self._leaving = True
            kind = ("content-type", "text/plain; charset=utf-8")
            length = ("content-length", str(len(body)))
            self._write(self._response_head(status, (kind, length)) + self._framed(body))
        if exchange is not None and not exchange.over:
            exchange.over = True
            if exchange.task is not None:
                exchange.task.cancel()
        self._linger()

    # bounds

    def taken(self, size: int) -> None:
        self._unread -= size
        self._hold()

    def _hold(self) -> None:
        """Read on only while there is room for it."""
        full = self._unread + self._reader.waiting > _UNREAD_BYTES_MAX
        if full != self._holding and not self.transport.is_closing():
            self._holding = full
            if full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # the response

    def invite(self) -> None:
        """Tell a client that waits for it to send its body."""
        head = self._head
        if head is not None and head.expects_continue and not self._invited:
            self._invited = True
            if not self._unread:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_head(self, status: int, headers: Headers) -> None:
        self._write(self._response_head(status, headers))

    def send_whole(self, response: HttpResponse, headers: Headers) -> None:
        length = ("content-length", str(len(response.body)))
        head = self._response_head(response.status, (*headers, *response.headers, length))
        self._write(head + self._framed(response.body))

    def send(self, data: bytes) -> None:
        self._write(self._framed(data))

    def send_end(self) -> None:
        if self._left is None:
            self._write(b"0\r\n\r\n")
        elif self._left > 0:  # the client must not take what comes next for the rest
            self.transport.abort()

    def upgrade(self, headers: Headers) -> Tunnel:
        """Answer 101 and let go of the connection.

        Raises:
            UpgradeError: the request has not come whole, or may not be answered so.
        """
        asked = self._head
        if asked is None or not asked.persistent or not self._reader.done:
            raise UpgradeError("the request cannot be upgraded")
        if self.transport.is_closing():
            raise ConnectionAbortedError
        lines = [status_line(101), *(f"{shown(name)}: {value}\r\n" for name, value in headers)]
        self._write(checked(lines))
        tunnel = Tunnel(self.transport, self._reader.take_rest(), self._tunnel_lost)
        if not self._room.is_set():
            tunnel.pause_writing()
        return tunnel

    def _tunnel_lost(self, error: Exception | None) -> None:
        """The handler reads to the end of what came; its server knows it until it is done."""
        del error
        task = self._exchange.task if self._exchange is not None else None
        if task is None or task.done():
            self._on_end(self)
        else:
            task.add_done_callback(lambda _task: self._on_end(self))

    def _response_head(self, status: int, headers: Headers) -> bytes:
        """The head, with what frames the body; decides how that is written."""
        asked, names = self._head, [name for name, _ in headers]
        bare = status in _BODILESS or (asked is not None and asked.method == "HEAD")
        self._closes = (
            asked is None
            or asked.closes
            or not asked.persistent
            or not self._reader.done
            or self._leaving
        )
        lines = [status_line(status)]
        lines += [f"{shown(name)}: {value}\r\n" for name, value in headers]
        if bare:
            self._left = 0
        elif "content-length" in names:
            self._left = int(headers[names.index("content-length")][1])
        elif asked is not None and asked.persistent:
            self._left = None
            lines.append("Transfer-Encoding: chunked\r\n")
        else:
            self._left = _UNTIL_END
        lines.append(date(int(time.time())))
        if self._closes:
            lines.append("Connection: close\r\n")
        return checked(lines)

    def _framed(self, data: bytes) -> bytes:
        """A part of the body as it is sent; nothing beyond what its head has promised."""
        if self._left is None:
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if self._left == _UNTIL_END:
            return data
        data = data[: self._left]
        self._left -= len(data)
        return data

    def _write(self, data: bytes | None) -> None:
        if data and not self.transport.is_closing():
            self.transport.write(data)

    async def writable(self) -> None:
        """Raises ConnectionError: the client takes nothing."""
        if self.transport.is_closing():
            raise ConnectionAbortedError
        if not self._room.is_set():
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await self._room.wait()
            except TimeoutError as error:
                self.transport.abort()
                raise ConnectionAbortedError from error

    def end(self) -> None:
        """The response is sent; go on with the next request, if there can be one."""
        self._exchange = self._head = None
        self._unread = 0
        if not self._reader.done:
            self._linger()
        elif self._closes or self._eof or self._leaving:
            close(self.transport)
        else:
            self._reader.start_next()
            self._idle = True
            self._closing.set(self._idle_s)
            if self._reader.waiting:
                self._loop.call_soon(self._advance)

    def _linger(self) -> None:
        self._closing.stop()
        if not self.transport.is_closing():
            if self._holding:
                self._holding = False
                self.transport.resume_reading()
            Lingering(self.transport, self.connection_lost)

    # leaving

    def leave(self) -> None:
        """Take no new requests."""
        self._leaving = True
        if self._exchange is None:
            close(self.transport)

    def running(self) -> list[asyncio.Task[None]]:
        task = self._exchange.task if self._exchange is not None else None
        return [] if task is None else [task]

    def abort(self) -> None:
        self.transport.abort()

    def cut(self) -> None:
        for task in self.running():
            task.cancel()
        close(self.transport)


class _Exchange(Exchange):
    def __init__(self, line: Http1Connection, request: HttpRequest) -> None:
        super().__init__(request)
        self._line = line
        self._tunnel: Tunnel | None = None

    @property
    def peer(self) -> str:
        return peer_of(self._line.transport)

    def _send_head(self, status: int, headers: Headers) -> None:
        self._line.send_head(status, headers)

    async def respond(self, response: HttpResponse) -> None:
        if not self.over:
            self._line.send_whole(response, self.headers)
            self.head_sent = True
            await self._line.writable()
            self.finish()

    async def write(self, data: bytes) -> None:
        if not self.over and data and self.request.method != "HEAD":
            self._line.send(data)
            await self._line.writable()

    def finish(self) -> None:
        if not self.over:
            self.over = True
            self._line.send_end()
            self._line.end()

    def upgrade(self, headers: Headers) -> Tunnel:
        if self.over or self.head_sent:
            raise UpgradeError("the request is answered already")
        self._tunnel = self._line.upgrade((*self.headers, *headers))
        self.head_sent = self.over = True
        return self._tunnel

    def abandon(self) -> None:
        if self._tunnel is not None:
            self._tunnel.close()
        elif not self.over:
            self.over = True
            self._line.transport.abort()

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return auth_context(self._line.transport)

    def _expected(self) -> None:
        self._line.invite()

    def _taken(self, size: int) -> None:
        self._line.taken(size)
