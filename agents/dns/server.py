"""The name server's sockets: datagrams and streams of one address and port.

Source: RFC 1035 section 4.2; RFC 7766 (streams: many queries on one connection, idle ones end).
"""

from __future__ import annotations

import asyncio
import struct
from typing import Final, Protocol, cast

from agents.dns.message import (
    STREAM_BYTES,
    NoQueryError,
    Query,
    RefusedQueryError,
    parse_query,
    reply,
)
from agents.dns.resolver import Resolved, Resolver
from kubraft.api.time import Clock
from kubraft.log import get_logger

# Queries by datagram that wait for other servers; further ones are dropped, and asked again.
WAITING_MAX: Final = 1_000
CONNECTIONS_MAX: Final = 256
IDLE_S: Final = 10.0

Address = tuple[str, int]


class Observer(Protocol):
    """Is told of every query and its answer."""

    def seen(self, proto: str, query: Query | None, size: int, sent: bytes, took_s: float) -> None:
        """`query` is None where it could not be read."""
        ...


class NameServer:
    """Answers on one address."""

    def __init__(self, resolver: Resolver, clock: Clock, observer: Observer) -> None:
        self._resolver = resolver
        self._clock = clock
        self._observer = observer
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._connections = 0
        self._log = get_logger("dns")

    async def start(self, host: str, port: int) -> int:
        """Listen for both; returns the port, chosen by the system for port 0.

        Raises:
            OSError: the address or port cannot be had.
        """
        self._server = await asyncio.start_server(self._serve, host, port, backlog=CONNECTIONS_MAX)
        bound: int = self._server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, bound))
        except OSError:
            self._server.close()
            raise
        return bound

    @property
    def connection_count(self) -> int:
        """Streams that are open."""
        return self._connections

    async def close(self) -> None:
        """Answer nobody any more."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def attach(self, transport: asyncio.DatagramTransport) -> None:
        """The socket for datagrams is there."""
        self._transport = transport

    def datagram(self, data: bytes, client: Address) -> None:
        """Answer one datagram, now or later."""
        since_s = self._clock.monotonic_s()
        try:
            query = parse_query(data)
        except NoQueryError:
            return
        except RefusedQueryError as refusal:
            self._send(refusal.reply, client)
            self._observer.seen("udp", None, len(data), refusal.reply, self._since(since_s))
            return
        found = self._resolver.at_once(query)
        if found is not None:
            self._answer(query, found, client, len(data), since_s)
        elif len(self._tasks) < WAITING_MAX:
            task = asyncio.ensure_future(self._later(query, client, len(data), since_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _later(self, query: Query, client: Address, size: int, since_s: float) -> None:
        self._answer(query, await self._resolver.resolve(query), client, size, since_s)

    def _answer(
        self, query: Query, found: Resolved, client: Address, size: int, since_s: float
    ) -> None:
        sent = reply(query, found.answer, query.datagram_bytes, authoritative=found.authoritative)
        self._send(sent, client)
        self._observer.seen("udp", query, size, sent, self._since(since_s))

    def _send(self, data: bytes, client: Address) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, client)

    def _since(self, since_s: float) -> float:
        return self._clock.monotonic_s() - since_s

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: query after query until the client ends it or is silent for IDLE_S."""
        task = asyncio.current_task()
        assert task is not None
        self._connections += 1
        self._tasks.add(task)
        try:
            if self._connections <= CONNECTIONS_MAX:
                while await self._exchange(reader, writer):
                    pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client's business
        finally:
            self._connections -= 1
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one query; whether another one may come."""
        async with asyncio.timeout(IDLE_S):
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            data = await reader.readexactly(size)
        since_s = self._clock.monotonic_s()
        query = None
        try:
            query = parse_query(data)
        except NoQueryError:
            return False
        except RefusedQueryError as refusal:
            sent = refusal.reply
        else:
            found = self._resolver.at_once(query) or await self._resolver.resolve(query)
            sent = reply(query, found.answer, STREAM_BYTES, authoritative=found.authoritative)
        writer.write(struct.pack("!H", len(sent)) + sent)
        self._observer.seen("tcp", query, len(data), sent, self._since(since_s))
        async with asyncio.timeout(IDLE_S):
            await writer.drain()
        return True


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server.attach(cast("asyncio.DatagramTransport", transport))

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._server.datagram(data, addr)
