"""The name server's sockets, asked by a real client."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from random import Random

import pytest
from dnslib import RCODE, DNSRecord

from agents.dns import server as module
from agents.dns.forwarder import Forwarder
from agents.dns.message import Query
from agents.dns.metrics import Metrics
from agents.dns.resolver import Resolver
from agents.dns.server import NameServer
from agents.dns.zone import Zone
from kubraft.api.time import SystemClock
from tests.agents.dns.cluster import StillCatalog, asked, endpoint, endpoints, framed, port, service
from tests.harness.eventually import eventually

HOST = "127.0.0.1"
MANY = 400
CATALOG = StillCatalog(
    [service("many", clusterIP="None"), service("web", port(80), clusterIP="10.0.0.9")],
    [endpoints("many", *(endpoint(f"10.1.{n >> 8}.{n & 255}") for n in range(MANY)))],
)


class Running:
    def __init__(self) -> None:
        clock = SystemClock()
        forwarder = Forwarder(tuple, clock, Random(1))
        self.metrics = Metrics(("cluster", "local"), forwarder)
        resolver = Resolver(Zone(CATALOG), forwarder, Random(1))
        self.server = NameServer(resolver, clock, self.metrics)
        self.port = 0


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    made = Running()
    made.port = await made.server.start(HOST, 0)
    yield made
    await made.server.close()


async def by_datagram(running: Running, *queries: bytes) -> list[DNSRecord]:
    """As many answers as come for these, asked all at once from one socket."""
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            answers.put_nowait(data)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=(HOST, running.port))
    try:
        for query in queries:
            transport.sendto(query)
        async with asyncio.timeout(30):
            return [DNSRecord.parse(await answers.get()) for _ in queries]
    finally:
        transport.close()


async def by_stream(running: Running, *queries: bytes) -> list[DNSRecord]:
    reader, writer = await asyncio.open_connection(HOST, running.port)
    try:
        writer.write(b"".join(map(framed, queries)))
        answers = []
        async with asyncio.timeout(30):
            for _ in queries:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                answers.append(DNSRecord.parse(await reader.readexactly(size)))
        return answers
    finally:
        writer.close()


async def test_a_name_is_answered_by_datagram_and_by_stream(running: Running) -> None:
    query = asked("web.default.svc.cluster.local")
    for ask in (by_datagram, by_stream):
        (answer,) = await ask(running, query)
        assert str(answer.rr[0].rdata) == "10.0.0.9"
        assert (answer.header.aa, answer.header.ra, answer.header.id) == (1, 1, 7)


async def test_a_long_answer_is_whole_by_stream_only(running: Running) -> None:
    name = "many.default.svc.cluster.local"
    (cut,) = await by_datagram(running, asked(name))
    assert cut.header.tc == 1
    (wide,) = await by_datagram(running, asked(name, size=1232))
    assert len(wide.rr) > len(cut.rr) > 0
    (whole,) = await by_stream(running, asked(name))
    assert (len(whole.rr), whole.header.tc) == (MANY, 0)


async def test_many_queries_go_over_one_stream(running: Running) -> None:
    name = "web.default.svc.cluster.local"
    answers = await by_stream(running, *(asked(name, number=n) for n in range(50)))
    assert [answer.header.id for answer in answers] == list(range(50))


async def test_bad_bytes_stop_nobody(running: Running) -> None:
    good = asked("web.default.svc.cluster.local", number=9)
    answers = await by_datagram(running, b"\0\7\1\0\0\1" + b"\0" * 6, good)
    assert [answer.header.rcode for answer in answers] == [RCODE.FORMERR, RCODE.NOERROR]
    reader, writer = await asyncio.open_connection(HOST, running.port)
    writer.write(framed(b"\0" * 4))
    async with asyncio.timeout(30):
        assert await reader.read() == b""  # no query: the connection ends
    writer.close()
    assert await by_stream(running, good)


async def test_names_outside_fail_where_the_host_has_no_servers(running: Running) -> None:
    for ask in (by_datagram, by_stream):
        (answer,) = await ask(running, asked("www.example.com"))
        assert answer.header.rcode == RCODE.SERVFAIL


async def test_silent_connections_end(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.05)
    reader, writer = await asyncio.open_connection(HOST, running.port)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_so_many_connections_are_served(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 2)
    held = [await asyncio.open_connection(HOST, running.port) for _ in range(2)]
    await eventually(lambda: running.server.connection_count == 2)
    reader, writer = await asyncio.open_connection(HOST, running.port)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    for _, each in [*held, (reader, writer)]:
        each.close()


async def test_what_was_asked_is_counted_under_coredns_names(running: Running) -> None:
    await by_datagram(running, asked("web.default.svc.cluster.local", "AAAA"))
    await by_stream(running, asked("nope.default.svc.cluster.local"))
    text = running.metrics.text().decode()
    labels = 'server="dns://:53"'
    assert (
        f'coredns_dns_requests_total{{family="1",proto="udp",{labels},type="AAAA",'
        'zone="cluster.local."} 1.0'
    ) in text
    assert (
        f'coredns_dns_responses_total{{proto="tcp",rcode="NXDOMAIN",{labels},'
        'zone="cluster.local."} 1.0'
    ) in text


def test_strangers_cannot_make_series_without_end() -> None:
    metrics = Metrics(("cluster", "local"), Forwarder(tuple, SystemClock(), Random(1)))
    from agents.dns.message import parse_query

    before = 0
    for number in range(300):
        query: Query = parse_query(asked(f"a{number}.example"))
        kind = type(query.question)(query.question.name, query.question.labels, number)
        query = Query(1, kind, recursion_desired=True)
        metrics.seen("udp", query, 1, b"\0\0\0\0", 0.0)
        before = max(before, metrics.text().count(b"coredns_dns_requests_total{"))
    assert before < 20
