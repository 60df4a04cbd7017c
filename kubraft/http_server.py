"""HTTP/1.1 for a few fixed paths: bounded, one request after the other on a connection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from kubraft.log import get_logger

HEADER_BYTES_MAX = 16 * 1024
HEADERS_MAX = 100
IDLE_TIMEOUT_S = 60.0
CONNECTIONS_MAX = 256

_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_log = get_logger("kubraft.http")


class Request(NamedTuple):
    """A request without a body; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    client_certificate: bytes | None  # PEM


class Response(NamedTuple):
    """An answer with all its bytes."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Handler = Callable[[Request], Awaitable[Response]]


class _BadRequestError(Exception):
    """The bytes are no request that is served here."""


class HttpServer:
    """Serves `handler`; its exceptions become 500 and a log line."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(
        self, host: str, port: int, tls: ssl.SSLContext | None, *, reuse_port: bool = True
    ) -> int:
        """Listen; replicas share the port where `reuse_port` is set.

        Returns:
            The port, another than asked for where that was 0.

        Raises:
            OSError: the address is taken.
        """
        self._server = await asyncio.start_server(
            self._accept, host, port, ssl=tls, reuse_port=reuse_port, limit=HEADER_BYTES_MAX
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening and end all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= CONNECTIONS_MAX:
                await self._serve(reader, writer)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        except _BadRequestError as error:
            with contextlib.suppress(ConnectionError):
                _write(writer, Response(400, f"{error}\n".encode()), keep=False)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                request = await _read(reader, writer)
            try:
                response = await self._handler(request)
            except Exception:  # noqa: BLE001 - a probe must get an answer
                _log.exception("request_failed", path=request.path)
                response = Response(500, b"internal error\n")
            keep = request.headers.get("connection", "").lower() != "close"
            _write(writer, response, keep=keep, body=request.method != "HEAD")
            await writer.drain()
            if not keep:
                return


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise _BadRequestError("the request's header is too large") from error
    lines = head.decode("latin-1").split("\r\n")[:-2]
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or len(lines) > HEADERS_MAX:
        raise _BadRequestError("malformed request")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise _BadRequestError("malformed header")
        headers[name.lower()] = value.strip()
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise _BadRequestError("a request body is not expected here")
    try:
        url = urlsplit(parts[1])
    except ValueError as error:
        raise _BadRequestError("malformed request target") from error
    query = parse_qs(url.query, keep_blank_values=True, max_num_fields=HEADERS_MAX)
    return Request(parts[0], url.path, query, headers, _certificate(writer))


def _certificate(writer: asyncio.StreamWriter) -> bytes | None:
    tls = writer.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    return ssl.DER_cert_to_PEM_cert(der).encode() if der else None


def _write(
    writer: asyncio.StreamWriter, response: Response, *, keep: bool, body: bool = True
) -> None:
    head = (
        f"HTTP/1.1 {response.status} {_PHRASES.get(response.status, 'Error')}\r\n"
        f"Content-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        "Cache-Control: no-cache, private\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    writer.write(head.encode() + (response.body if body else b""))
