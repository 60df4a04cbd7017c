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
from kubraft.streaming.dialing import Endpoint, RelayError, dial

__all__ = ["Destination", "RelayError", "relay", "wants_upgrade"]

_ANSWER_TIMEOUT_S: Final = 30.0
_REFUSAL_BYTES_MAX: Final = 64 << 10
_READ_BYTES: Final = 64 << 10
# About one connection or one message: they are not the next connection's business.
_OWN: Final = frozenset(
    (
        *("host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"),
        *("keep-alive", "te", "trailer", "authorization", "proxy-authorization", "date"),
    )
)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes."""

    host: str
    port: int
    target: str  # path and query, as they stand in a request
    tls: ssl.SSLContext | None = None
    server_name: str = ""  # of the certificate, where it is not the host's


def wants_upgrade(exchange: Exchange) -> bool:
    """Whether a request asks to leave HTTP."""
    options = exchange.request.header("connection").lower().split(",")
    return "upgrade" in map(str.strip, options) and bool(exchange.request.header("upgrade"))


async def relay(
    exchange: Exchange,
    destination: Destination,
    *,
    headers: Headers | None = None,
    until: asyncio.Event | None = None,
) -> None:
    """Ask `destination` what the client asks, and pass on what it answers until either goes.

    A refusal is passed on as it is, up to a bound.

    Args:
        headers: those of the request, Host among them, but for what belongs to the upgrade itself;
            without them the client's are passed on.
        until: ends the relay when it is set.

    Raises:
        RelayError: before anything was answered; a DialError where there is no connection.
        UpgradeError: the client's connection cannot be handed on.
        ConnectionError: the client is gone.
    """
    request = _request(exchange, destination, headers)
    endpoint = Endpoint(destination.host, destination.port)
    reader, writer = await dial(endpoint, destination.tls, destination.server_name)
    try:
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                writer.write(request)
                head = await _read_head(reader)
                if head.status != 101:
                    body = await _refusal(reader, head)
        except TimeoutError as error:
            raise RelayError("no answer in time") from error
        except OSError as error:
            raise RelayError(str(error)) from error
        if head.status < 400 and head.status != 101:
            raise RelayError(f"invalid upgrade response: status code {head.status}")
        if head.status != 101:
            await exchange.respond(HttpResponse(head.status, body, head.passed_on))
            return
        upgrade = (("connection", "Upgrade"), ("upgrade", head.upgrade))
        tunnel = exchange.upgrade((*head.passed_on, *upgrade))
        await _pump(tunnel, reader, writer, until or asyncio.Event())
    finally:
        writer.close()


def _request(exchange: Exchange, destination: Destination, headers: Headers | None) -> bytes:
    asked = exchange.request
    if headers is None:
        headers = [
            ("Host", str(Endpoint(destination.host, destination.port))),
            *((name, value) for name, value in asked.headers if name not in _OWN),
        ]
    fields = [*headers, ("Connection", "Upgrade"), ("Upgrade", asked.header("upgrade"))]
    if asked.method != "GET":
        fields.append(("Content-Length", "0"))
    lines = [f"{asked.method} {destination.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields]
    if any("\r" in line or "\n" in line for line in lines):
        raise RelayError("a header has a line end in it")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1", "replace")


class _Head:
    """The head of an answer, as httptools reads it; and its body, if it is fed one."""

    def __init__(self, data: bytes) -> None:
        self._fields: list[tuple[str, str]] = []
        self._headed = False
        self.body = bytearray()
        self.whole = False
        self._parser = httptools.HttpResponseParser(self)
        self.feed(data)
        self.status: int = self._parser.get_status_code()

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._headed:  # it stops so where an upgrade begins
                raise RelayError(f"malformed HTTP response: {error}") from error
            self.whole = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._headed = True

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.whole = True

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
    while not head.whole and len(head.body) < _REFUSAL_BYTES_MAX:
        data = await reader.read(_READ_BYTES)
        if not data:
            break
        head.feed(data)
    return bytes(head.body[:_REFUSAL_BYTES_MAX])


async def _pump(
    tunnel: Tunnel,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    until: asyncio.Event,
) -> None:
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

    tasks = [asyncio.create_task(each) for each in (down(), up(), _set(until))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tunnel.close()


async def _set(event: asyncio.Event) -> None:
    await event.wait()
