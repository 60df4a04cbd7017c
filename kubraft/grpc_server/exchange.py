"""One HTTP request and its response, whichever version of HTTP carries them."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from kubraft.grpc_server.tunnel import Tunnel, UpgradeError
from kubraft.log import get_logger

log = get_logger("kubraft.http")

# A body has so long to come, and a client so long to take anything of what waits for it.
BODY_TIMEOUT_S = 60.0
WRITE_TIMEOUT_S = 120.0

_TOO_LARGE = "the body is too large"

Headers = Sequence[tuple[str, str]]


class HttpRequest:
    """Header names are in lower case; the path is decoded, the query is not."""

    __slots__ = ("_first", "headers", "host", "method", "path", "query", "secure")

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        host: str,
        headers: Headers,
        *,
        secure: bool,
    ) -> None:
        """Where `host` is empty the header of that name says it."""
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.secure = secure
        self._first = dict(reversed(headers))
        self.host = host or self._first.get("host", "")

    def header(self, name: str) -> str:
        """The first header of that name; empty if there is none."""
        return self._first.get(name, "")


class HttpResponse(NamedTuple):
    """An answer with all its bytes."""

    status: int
    body: bytes
    headers: Headers = ()


class BodyTooLargeError(Exception):
    """A request's body is longer than its handler takes."""

    status = 413


class BodyTooSlowError(Exception):
    """A request's body did not come in time."""

    status = 408


def target(text: str) -> tuple[str, str]:
    """Path and query of a request's target, whose form may be absolute.

    Raises:
        ValueError: it is of no known form.
    """
    if "://" in text and not text.startswith("/"):
        _, _, rest = text.partition("://")
        _, slash, path = rest.partition("/")
        text = slash + path or "/"
    if not text.startswith("/") and text != "*":
        raise ValueError("malformed request target")
    path, _, query = text.partition("#")[0].partition("?")
    return unquote(path, errors="replace"), query


class Exchange(ABC):
    """What a handler has of a request. One task reads, one writes.

    The connection that carries it feeds the body and cancels the handler's task when the client
    goes; it sees to it that a client that sends faster than the handler reads is held up.
    """

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.task: asyncio.Task[None] | None = None
        # Go out with whatever the response is.
        self.headers: Headers = ()
        self.head_sent = False
        self.over = False
        self._parts: deque[bytes] = deque()
        self._whole = False
        self._news: asyncio.Future[None] | None = None

    # From the connection.

    def feed(self, data: bytes) -> None:
        self._parts.append(data)
        self._wake()

    def feed_end(self) -> None:
        self._whole = True
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # For the handler.

    async def read(self) -> bytes:
        """The next part of the body; nothing at its end."""
        self._expected()
        while not self._parts:
            if self._whole:
                return b""
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        part = self._parts.popleft()
        self._taken(len(part))
        return part

    async def body(self, bytes_max: int) -> bytes:
        """The whole body.

        Raises:
            BodyTooLargeError: it is longer than `bytes_max`.
            BodyTooSlowError: it took too long to come.
        """
        length = self.request.header("content-length")
        if length.isdecimal() and int(length) > bytes_max:
            raise BodyTooLargeError(_TOO_LARGE)
        if self._whole:  # as nearly all are, before anybody asks
            return self._rest(bytes_max)
        found = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while part := await self.read():
                    found += part
                    if len(found) > bytes_max:
                        raise BodyTooLargeError(_TOO_LARGE)
        except TimeoutError as error:
            raise BodyTooSlowError("the body did not come in time") from error
        return bytes(found)

    def _rest(self, bytes_max: int) -> bytes:
        found = b"".join(self._parts)
        self._parts.clear()
        self._taken(len(found))
        if len(found) > bytes_max:
            raise BodyTooLargeError(_TOO_LARGE)
        return found

    async def respond(self, response: HttpResponse) -> None:
        """Send an answer that is all there."""
        length = ("content-length", str(len(response.body)))
        self.start(response.status, (*response.headers, length))
        if response.body:
            await self.write(response.body)
        self.finish()

    def start(self, status: int, headers: Headers) -> None:
        """Send the head of the response; without `content-length` a stream follows."""
        if not self.over:
            self._send_head(status, (*self.headers, *headers))
            self.head_sent = True

    def upgrade(self, headers: Headers) -> Tunnel:  # noqa: ARG002 - of those that can
        """Answer 101 with `headers`; from here on bytes go both ways until the handler ends.

        A client that goes does not cancel the handler: reads end, and writes fail.

        Raises:
            UpgradeError: there is no such thing in this version of HTTP, or the request has a body
                that is not whole.
            ConnectionError: the client is gone.
        """
        raise UpgradeError("this connection cannot be upgraded")

    @abstractmethod
    def _send_head(self, status: int, headers: Headers) -> None: ...

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send a part of the response; waits while the client does not keep up.

        Raises:
            ConnectionError: it took nothing for too long, and is cut off.
        """

    @abstractmethod
    def finish(self) -> None:
        """The response is whole."""

    @abstractmethod
    def abandon(self) -> None:
        """The response will never be whole; the client must see that."""

    @property
    def peer(self) -> str:
        """The client's address, without port; "" where it has none."""
        return ""

    @abstractmethod
    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """The client's certificate, under grpcio's names."""

    @abstractmethod
    def _expected(self) -> None:
        """Somebody wants the body."""

    @abstractmethod
    def _taken(self, size: int) -> None:
        """So much of the body was read."""


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address of who is at the other end."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) else ""


Handler = Callable[[Exchange], Awaitable[None]]


async def run(handler: Handler, exchange: Exchange) -> None:
    """Run the handler; the client gets an answer, or sees that there will be none."""
    refusal: HttpResponse | None = None
    try:
        await handler(exchange)
    except ConnectionError:
        pass
    except (BodyTooLargeError, BodyTooSlowError) as error:
        refusal = HttpResponse(error.status, f"{error}\n".encode())
    except Exception as error:  # noqa: BLE001  # any failure of a handler is the client's answer
        refusal = HttpResponse(500, b"Internal Server Error\n")
        request = exchange.request
        cause = f"{type(error).__name__}: {error}"
        log.warning("request failed", method=request.method, path=request.path, cause=cause)
    if refusal is not None and not exchange.head_sent:
        with contextlib.suppress(ConnectionError):
            await exchange.respond(refusal)
    exchange.abandon()  # does nothing to a response that is whole
