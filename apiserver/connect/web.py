"""Requests of HTTP passed on to a node, a Pod or a Service, and their answers back.

Bodies go through as they come, both ways; redirects are the client's to follow. Only a page of
HTML is held, to have its links lead through the proxy, and a large one is not.

Source: upstream's UpgradeAwareHandler and proxy.Transport; Go's ReverseProxy.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from apiserver.connect.headers import back, onward
from apiserver.connect.links import Proxied, rewrite_page
from apiserver.connect.locations import Backend
from apiserver.connect.relays import PATH_SAFE
from kubraft.api.errors import ServiceUnavailableError
from kubraft.grpc_server.exchange import Exchange, HttpResponse
from kubraft.streaming.dialing import DIAL_TIMEOUT_S, HEAD_BYTES_MAX, dial_words

if TYPE_CHECKING:
    import aiohttp

# A longer page of HTML goes through as it is.
PAGE_BYTES_MAX: Final = 4 << 20
# Requests beyond these wait for one to become free, as long as two dials may take.
_CONNECTIONS_MAX: Final = 1_000
_CONNECTIONS_PER_HOST_MAX: Final = 256
_KEEPALIVE_S: Final = 30.0
_BODILESS: Final = ("GET", "HEAD", "OPTIONS")
_ENCODINGS: Final = {"gzip": 31, "deflate": -15}
# Headers that the library would set of its own accord.
_NOT_OURS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class WebProxy:
    """One for the process; `close` ends its connections. Used by one event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def pass_on(self, exchange: Exchange, backend: Backend, prefix: str, path: str) -> None:
        """Answer with what the backend answers to `path` (decoded, "" for none at all).

        The client finds the backend's root at `prefix`.

        Raises:
            ServiceUnavailableError: it cannot be reached.
        """
        import aiohttp  # noqa: PLC0415 - rare, and slow to import

        request = exchange.request
        if not path and request.method in ("GET", "HEAD"):
            await exchange.respond(_with_slash(exchange))
            return
        proxied = Proxied(str(backend.endpoint), request.host, quote(prefix, safe=PATH_SAFE))
        headers = [*onward(request, exchange.peer), ("host", request.host)]
        headers.append(("x-forwarded-uri", quote(prefix + path, safe=PATH_SAFE)))
        try:
            async with self._open().request(
                request.method,
                _url(backend, path, request.query),
                headers=headers,
                data=_body(exchange),
                ssl=backend.tls if backend.tls is not None else True,
                allow_redirects=False,
                skip_auto_headers=_NOT_OURS,
            ) as response:
                await _send(exchange, response, proxied)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            if exchange.head_sent:
                exchange.abandon()
                return
            why = _words(error, backend)
            raise ServiceUnavailableError(f"error trying to reach service: {why}") from error

    def _open(self) -> aiohttp.ClientSession:
        """The session; made when first needed."""
        import aiohttp  # noqa: PLC0415 - see pass_on

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_CONNECTIONS_MAX,
                    limit_per_host=_CONNECTIONS_PER_HOST_MAX,
                    keepalive_timeout=_KEEPALIVE_S,
                    use_dns_cache=False,
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=2 * DIAL_TIMEOUT_S, sock_connect=DIAL_TIMEOUT_S
                ),
                max_line_size=HEAD_BYTES_MAX,
                max_field_size=HEAD_BYTES_MAX,
            )
        return self._session


def _url(backend: Backend, path: str, query: str) -> Any:
    from yarl import URL  # noqa: PLC0415 - comes with aiohttp

    target = quote(path or "/", safe=PATH_SAFE)
    text = f"{backend.scheme}://{backend.endpoint}{target}"
    return URL(f"{text}?{query}" if query else text, encoded=True)


def _with_slash(exchange: Exchange) -> HttpResponse:
    """Relative links need a path to be relative to."""
    request = exchange.request
    query = f"?{request.query}" if request.query else ""
    location = f"{quote(request.path, safe=PATH_SAFE)}/{query}"
    return HttpResponse(301, b"", [("location", location)])


def _body(exchange: Exchange) -> AsyncIterator[bytes] | None:
    """What the client sends, as it comes; None where there is nothing."""
    request = exchange.request
    length = request.header("content-length")
    chunked = bool(request.header("transfer-encoding"))
    if length == "0" or (not length and not chunked and request.method in _BODILESS):
        return None
    return _parts(exchange)


async def _parts(exchange: Exchange) -> AsyncIterator[bytes]:
    while part := await exchange.read():
        yield part


async def _send(exchange: Exchange, response: aiohttp.ClientResponse, proxied: Proxied) -> None:
    raw = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in response.raw_headers]
    headers = back(raw)
    if any(name == "location" for name, _ in headers):
        headers = [(k, proxied.rewrite(v) if k == "location" else v) for k, v in headers]
    elif (
        response.content_type == "text/html"
        and exchange.request.method != "HEAD"
        and (page := await _page(response, headers, proxied)) is not None
    ):
        exchange.start(response.status, page.headers)
        await exchange.write(page.body)
    if not exchange.head_sent:
        exchange.start(response.status, headers)
    async for chunk in response.content.iter_any():
        await exchange.write(chunk)
    exchange.finish()


async def _page(
    response: aiohttp.ClientResponse, headers: list[tuple[str, str]], proxied: Proxied
) -> HttpResponse | None:
    """A page with its links rewritten, or the begin of one that is too long for that.

    None where it is packed in a way that is not known here; then nothing of it was read.
    """
    encoding = response.headers.get("Content-Encoding", "")
    if encoding and encoding not in _ENCODINGS:
        return None
    held = bytearray()
    async for chunk in response.content.iter_any():
        held += chunk
        if len(held) > PAGE_BYTES_MAX:
            return HttpResponse(response.status, bytes(held), headers)
    plain = _unpacked(bytes(held), encoding)
    if plain is None:
        return HttpResponse(response.status, bytes(held), headers)
    kept = [(k, v) for k, v in headers if k not in ("content-length", "content-encoding")]
    body = await asyncio.to_thread(rewrite_page, plain, proxied.rewrite)
    return HttpResponse(response.status, body, [*kept, ("content-length", str(len(body)))])


def _unpacked(data: bytes, encoding: str) -> bytes | None:
    """A page's text; None where it is too long, or no such thing."""
    if not encoding:
        return data
    unpacking = zlib.decompressobj(_ENCODINGS[encoding])
    try:
        plain = unpacking.decompress(data, PAGE_BYTES_MAX)
    except zlib.error:
        return None
    return plain if unpacking.eof else None


def _words(error: BaseException, backend: Backend) -> str:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if type(cause).__name__ == "ServerDisconnectedError":
        return "EOF"
    return dial_words(cause, backend.endpoint)
