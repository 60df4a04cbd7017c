"""Passing a client's upgrade on to who really answers it, and then bytes both ways, unread.

Nobody in between needs to know WebSocket or SPDY: the one at the end negotiates with the client.
Source: RFC 9110, section 7.8; Kubernetes documentation, "Control Plane-Node Communication".
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import Final

import httptools

from kubraft.grpc_server.exchange import Exchange, Headers, HttpResponse
from kubraft.grpc_server.tunnel import Tunnel

_CONNECT_TIMEOUT_S: Final = 10.0
_ANSWER_TIMEOUT_S: Final = 30.0
_HEAD_BYTES_MAX: Final = 64 << 10
_REFUSAL_BYTES_MAX: Final = 64 << 10
_READ_BYTES: Final = 64 << 10
# About one connection or one message: they are not the next connection's business.
_OWN: Final = frozenset(
    (
        *("host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"),
        *("keep-alive", "te", "trailer", "authorization", "proxy-authorization", "date"),
    )
)


class RelayError(Exception):
    """Who should answer cannot be reached, or answers no HTTP; the message says why."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes."""

    host: str
    port: int
    target: str  # path and query, as they stand in a request
    tls: ssl.SSLContext | None = None


def wants_upgrade(exchange: Exchange) -> bool:
    """Whether a request asks to leave HTTP."""
    options = exchange.request.header("connection").lower().split(",")
    return "upgrade" in map(str.strip, options) and bool(exchange.request.header("upgrade"))


async def relay(exchange: Exchange, destination: Destination) -> None:
    """Ask `destination` what the client asks, and pass on what it answers until either goes.

    An answer other than 101 is passed on as it is, up to a bound.

    Raises:
        RelayError: before anything was answered.
        ConnectionError: the client is gone.
    """
    reader, writer = await _connect(destination)
    try:
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                writer.write(_request(exchange, destination))
                head = await _read_head(reader)
                if head.status != 101:
                    body = await _refusal(reader, head)
        except TimeoutError as error:
            raise RelayError("no answer in time") from error
        except OSError as error:
            raise RelayError(str(error)) from error
        if head.status != 101:
            await exchange.respond(HttpResponse(head.status, body, head.passed_on))
            return
        upgrade = (("connection", "Upgrade"), ("upgrade", head.upgrade))
        await _pump(exchange.upgrade((*head.passed_on, *upgrade)), reader, writer)
    finally:
        writer.close()


async def _connect(
    destination: Destination,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            return await asyncio.open_connection(
                destination.host, destination.port, ssl=destination.tls, limit=_HEAD_BYTES_MAX
            )
    except TimeoutError as error:
        raise RelayError(f"dial tcp {destination.host}:{destination.port}: i/o timeout") from error
    except OSError as error:
        cause = error.strerror or error
        raise RelayError(f"dial tcp {destination.host}:{destination.port}: {cause}") from error


def _request(exchange: Exchange, destination: Destination) -> bytes:
    asked = exchange.request
    fields = [
        ("Host", f"{destination.host}:{destination.port}"),
        ("Connection", "Upgrade"),
        ("Upgrade", asked.header("upgrade")),
        *((name, value) for name, value in asked.headers if name not in _OWN),
    ]
    if asked.method != "GET":
        fields.append(("Content-Length", "0"))
    lines = [f"{asked.method} {destination.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields]
    if any("\r" in line or "\n" in line for line in lines):
        raise RelayError("a header has a line end in it")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


class _Head:
    """The head of an answer, as httptools reads it."""

    def __init__(self, data: bytes) -> None:
        self._fields: list[tuple[str, str]] = []
        self._whole = False
        parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._whole:  # it pauses, by an error, where an upgrade begins
                raise RelayError(f"malformed HTTP response: {error}") from error
        self.status: int = parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._whole = True

    def get(self, name: str) -> str:
        return next((value for key, value in self._fields if key == name), "")

    @property
    def upgrade(self) -> str:
        return self.get("upgrade")

    @property
    def passed_on(self) -> Headers:
        return [(name, value) for name, value in self._fields if name not in _OWN]


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    try:
        return _Head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError as error:
        raise RelayError("the connection was closed without an answer") from error
    except asyncio.LimitOverrunError as error:
        raise RelayError("the answer's head is too large") from error


async def _refusal(reader: asyncio.StreamReader, head: _Head) -> bytes:
    """The body of an answer that is no upgrade; what is beyond the bound is left out."""
    length = head.get("content-length")
    if length.isdecimal():
        with contextlib.suppress(asyncio.IncompleteReadError):
            return await reader.readexactly(min(int(length), _REFUSAL_BYTES_MAX))
    return b""


async def _pump(tunnel: Tunnel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes both ways, until the client goes or all that the other has said is passed on."""

    async def down() -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_READ_BYTES):
                await tunnel.write(data)

    async def up() -> None:
        while data := await tunnel.read():
            try:
                writer.write(data)
                await writer.drain()
            except ConnectionError:
                await asyncio.Event().wait()  # what was said before is still to be passed on

    tasks = [asyncio.create_task(down()), asyncio.create_task(up())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tunnel.close()
