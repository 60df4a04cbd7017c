"""Asks the host's name servers what the cluster does not know.

Each question goes from a socket of its own, with a number by chance (RFC 5452), to one server after
another; who does not answer in time is passed over. The same question asked twice at a time is sent
once.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from random import Random
from typing import Final, cast

from dnslib import QTYPE, RCODE, DNSRecord

from agents.dns.answer_cache import AnswerCache, CacheKey
from agents.dns.message import Query, forwarded, parse_response
from agents.dns.zone import Answer
from kubraft.api.time import Clock, within

PORT: Final = 53
# Resolvers wait 5 s for an answer: two servers can be silent before they give up.
TIMEOUT_S: Final = 2.0
ATTEMPTS_MAX: Final = 2
IN_FLIGHT_MAX: Final = 1_000

_FAILED: Final = Answer(RCODE.SERVFAIL)
_TOO_MANY: Final = Answer(RCODE.REFUSED)


class _Exchange(asyncio.DatagramProtocol):
    """One question to one server by datagram; what does not answer it is passed over."""

    def __init__(self, query: Query, number: int) -> None:
        self._query, self._number = query, number
        self.answer: asyncio.Future[DNSRecord] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        asked = forwarded(self._query, self._number)
        cast("asyncio.DatagramTransport", transport).sendto(asked)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002
        found = parse_response(data, self._query.question, self._number)
        if found is not None and not self.answer.done():
            self.answer.set_result(found)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


class Forwarder:
    """Answers by asking others. Safe for any number of tasks of one event loop."""

    def __init__(
        self,
        servers: Callable[[], tuple[str, ...]],
        clock: Clock,
        rng: Random,
        *,
        port: int = PORT,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`servers` are asked in their order; `rng` must be one that nobody can foretell."""
        self._servers = servers
        self._clock = clock
        self._rng = rng
        self._port = port
        self._timeout_s = timeout_s
        self.cache = AnswerCache()
        self._asking: dict[CacheKey, asyncio.Task[Answer]] = {}
        self.hits = self.misses = self.rejected = self.asked = self.failed = 0

    async def answer(self, query: Query) -> Answer:
        """What they say, or SERVFAIL where nobody does; REFUSED where too much is asked at once."""
        key = CacheKey(
            query.question.labels, query.question.kind, query.dnssec_ok, query.checking_disabled
        )
        found = self.cache.find(key, self._clock.monotonic_s())
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= IN_FLIGHT_MAX:
                self.rejected += 1
                return _TOO_MANY
            task = self._asking[key] = asyncio.ensure_future(self._ask(query, key))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for nobody any more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, query: Query, key: CacheKey) -> Answer:
        answer = _FAILED
        for server in self._servers()[:ATTEMPTS_MAX]:
            self.asked += 1
            try:
                record = await within(self._clock, self._timeout_s, self._ask_server(query, server))
            except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                self.failed += 1
                continue
            answer = _answer_of(record)
            if answer.rcode in (RCODE.NOERROR, RCODE.NXDOMAIN):
                break
        self.cache.keep(key, answer, self._clock.monotonic_s())
        return answer

    async def _ask_server(self, query: Query, server: str) -> DNSRecord:
        number = self._rng.getrandbits(16)
        loop = asyncio.get_running_loop()
        transport, exchange = await loop.create_datagram_endpoint(
            lambda: _Exchange(query, number), remote_addr=(server, self._port)
        )
        try:
            record = await exchange.answer
        finally:
            transport.close()
        if not record.header.tc:
            return record
        return await self._ask_by_stream(query, server, number)

    async def _ask_by_stream(self, query: Query, server: str, number: int) -> DNSRecord:
        """Raises ValueError where the answer is to another question."""
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            asked = forwarded(query, number)
            writer.write(struct.pack("!H", len(asked)) + asked)
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            found = parse_response(await reader.readexactly(size), query.question, number)
        finally:
            writer.close()
        if found is None:
            raise ValueError("not an answer to the question")
        return found


def _answer_of(record: DNSRecord) -> Answer:
    return Answer(
        record.header.rcode,
        tuple(record.rr),
        tuple(record.auth),
        tuple(each for each in record.ar if each.rtype != QTYPE.OPT),
    )
