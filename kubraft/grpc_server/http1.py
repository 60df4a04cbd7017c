"""A client connection that speaks HTTP/1.1: one request after the other. Source: RFC 9112.

`h11` knows the protocol; here are the socket, the limits and the handler's task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import cast

import h11

from kubraft.grpc_server.certificate import auth_context
from kubraft.grpc_server.exchange import (
    WRITE_TIMEOUT_S,
    Exchange,
    Handler,
    Headers,
    HttpRequest,
    run,
    target,
)
from kubraft.grpc_server.lingering import Lingering

HEAD_BYTES_MAX = 64 << 10
# A request's head has so long to come; a connection without a request stays open so long.
HEAD_TIMEOUT_S = 30.0
IDLE_TIMEOUT_S = 300.0
# What may be here of a body, or of later requests, before the client is held up.
_UNREAD_BYTES_MAX = 256 << 10
# A client that has closed its side has so long to get its answer.
_HALF_CLOSED_S = 5.0


class Http1Connection(asyncio.Protocol):
    """Talks to one client; `on_end` is called when it is gone."""

    def __init__(self, handler: Handler, on_end: Callable[[Http1Connection], None]) -> None:
        self._handler = handler
        self._on_end = on_end
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._exchange: _Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()
        self._unread = 0
        self._wants_head_only = False
        self._holding = False
        self._eof = False
        self._leaving = False

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._close_after(HEAD_TIMEOUT_S)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._stop_timer()
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
        self._close_after(_HALF_CLOSED_S)
        return True

    def data_received(self, data: bytes) -> None:
        self._h11.receive_data(data)
        self._advance()

    # requests in

    @property
    def secure(self) -> bool:
        return self.transport.get_extra_info("ssl_object") is not None

    def _advance(self) -> None:
        """Act on what came, as far as it is whole and its turn has come."""
        try:
            while not self.transport.is_closing() and self._act(self._h11.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))
        self._hold()

    def _act(self, event: object) -> bool:
        """Whether there may be more events."""
        if event is h11.NEED_DATA or event is h11.PAUSED:
            return False
        if isinstance(event, h11.Request):
            self._begin(event)
        elif isinstance(event, h11.Data):
            self._unread += len(event.data)
            assert self._exchange is not None
            self._exchange.feed(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            assert self._exchange is not None
            self._exchange.feed_end()
        else:
            self.transport.close()
            return False
        return True

    def _begin(self, event: h11.Request) -> None:
        self._stop_timer()
        self._wants_head_only = event.method == b"HEAD"
        headers = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers)
        names = [name for name, _ in headers]
        if "transfer-encoding" in names and "content-length" in names:
            # The two may disagree, and somebody between us and the client may believe the other.
            raise h11.RemoteProtocolError("both Content-Length and Transfer-Encoding")
        try:
            path, query = target(event.target.decode("latin-1"))
        except ValueError as error:
            raise h11.RemoteProtocolError(str(error)) from error
        host = next((value for name, value in headers if name == "host"), "")
        method = event.method.decode("latin-1")
        request = HttpRequest(method, path, query, host, headers, self.secure)
        exchange = self._exchange = _Exchange(self, request)
        exchange.task = asyncio.create_task(run(self._handler, exchange))

    def _refuse(self, status: int, cause: str) -> None:
        """Say what is wrong with the request, unless an answer is already on its way."""
        exchange = self._exchange
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = f"{status} {_phrase(status)}: {cause}\n".encode()
            headers = (("content-type", "text/plain; charset=utf-8"),)
            length = ("content-length", str(len(body)))
            self.send_head(status, (*headers, length, ("connection", "close")))
            if not self._wants_head_only:
                self.send(body)
            self.send_end()
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
        waiting = self._unread
        if self._h11.their_state is h11.DONE:
            waiting += len(self._h11.trailing_data[0])
        full = waiting > _UNREAD_BYTES_MAX
        if full != self._holding and not self.transport.is_closing():
            self._holding = full
            if full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _close_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # the response

    def invite(self) -> None:
        """Tell a client that waits for it to send its body."""
        if self._h11.they_are_waiting_for_100_continue:
            self._write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])))

    def send_head(self, status: int, headers: Headers) -> None:
        if self._h11.their_state is not h11.DONE or self._leaving:
            headers = (*headers, ("connection", "close"))
        # Nothing depends on the case of names, but for a few clients.
        sent = [(name.title(), value) for name, value in (*headers, ("date", _now()))]
        reason = _phrase(status).encode()
        response = h11.Response(status_code=status, headers=sent, reason=reason)
        self._write(self._h11.send(response))

    def send(self, data: bytes) -> None:
        self._write(self._h11.send(h11.Data(data=data)))

    def send_end(self) -> None:
        self._write(self._h11.send(h11.EndOfMessage()))

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
        self._exchange = None
        self._unread = 0
        if self._h11.their_state is h11.SEND_BODY:
            self._linger()
        elif self._h11.our_state is not h11.DONE or self._eof or self._leaving:
            self.transport.close()
        else:
            self._h11.start_next_cycle()
            self._wants_head_only = False
            self._close_after(IDLE_TIMEOUT_S)
            self._loop.call_soon(self._advance)

    def _linger(self) -> None:
        self._stop_timer()
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
            self.transport.close()

    def running(self) -> list[asyncio.Task[None]]:
        task = self._exchange.task if self._exchange is not None else None
        return [] if task is None else [task]

    def cut(self) -> None:
        for task in self.running():
            task.cancel()
        self.transport.close()


class _Exchange(Exchange):
    def __init__(self, line: Http1Connection, request: HttpRequest) -> None:
        super().__init__(request)
        self._line = line

    def _send_head(self, status: int, headers: Headers) -> None:
        self._line.send_head(status, headers)

    async def write(self, data: bytes) -> None:
        if not self.over and data and self.request.method != "HEAD":
            self._line.send(data)
            await self._line.writable()

    def finish(self) -> None:
        if not self.over:
            self.over = True
            self._line.send_end()
            self._line.end()

    def abandon(self) -> None:
        if not self.over:
            self.over = True
            self._line.transport.abort()

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return auth_context(self._line.transport)

    def _expected(self) -> None:
        self._line.invite()

    def _taken(self, size: int) -> None:
        self._line.taken(size)


def _now() -> str:
    return formatdate(usegmt=True)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
