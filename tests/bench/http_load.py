"""A client of HTTP/1.1 that does little, so that it is not what a benchmark measures."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, cast

import httptools

Sink = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where the server is, and what says who asks."""

    host: str
    port: int
    token: str
    ca_file: str


class Ask(NamedTuple):
    """One request."""

    method: str
    path: str
    body: bytes = b""
    kind: str = "application/json"


class Done(NamedTuple):
    """One request that was answered: how long that took, and when (monotonic) it was."""

    seconds: float
    at: float
    status: int
    size: int


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self, target: Target) -> None:
        self._head = (
            f"Host: {target.host}:{target.port}\r\nAccept: application/json\r\n"
            f"Authorization: Bearer {target.token}\r\n"
        )
        self._waiting: asyncio.Future[int] | None = None
        self.sink: Sink | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error or ConnectionResetError("closed by the server"))

    async def ask(self, ask: Ask) -> int:
        """Send a request; the status, once the answer is whole or `sink` begins to get it."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self.body = b""
        length = f"Content-Type: {ask.kind}\r\nContent-Length: {len(ask.body)}\r\n"
        head = f"{ask.method} {ask.path} HTTP/1.1\r\n{self._head}{length if ask.body else ''}\r\n"
        self.transport.write(head.encode() + ask.body)
        return await self._waiting

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        if self.sink is not None:
            self._answered()

    def on_body(self, data: bytes) -> None:
        if self.sink is not None:
            self.sink(data)
        else:
            self.body += data

    def on_message_complete(self) -> None:
        self._answered()

    def _answered(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._parser.get_status_code())


async def connect(target: Target, tls: ssl.SSLContext) -> Connection:
    """A connection that is open."""
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(
        lambda: Connection(target), target.host, target.port, ssl=tls
    )
    return protocol


async def drive(
    target: Target, asks: Iterable[Ask], in_flight: int, pause_s: float = 0.0
) -> tuple[list[Done], float]:
    """Send requests over so many connections; what became of each in order, and the seconds."""
    tls = ssl.create_default_context(cafile=target.ca_file)
    lines = [await connect(target, tls) for _ in range(in_flight)]
    done: list[Done] = []
    left = iter(asks)

    async def work(line: Connection) -> None:
        for ask in left:
            began = time.monotonic()
            status = await line.ask(ask)
            now = time.monotonic()
            done.append(Done(now - began, now, status, len(line.body)))
            if pause_s:
                await asyncio.sleep(max(0.0, pause_s - (now - began)))

    began = time.monotonic()
    try:
        await asyncio.gather(*map(work, lines))
    finally:
        for line in lines:
            line.transport.abort()
    return done, time.monotonic() - began
