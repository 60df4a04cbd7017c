"""Names of others: asked of other servers, kept for a while, and failures told in time."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from dnslib import CNAME, QTYPE, RCODE, RR, SOA, A, DNSLabel, DNSRecord

from agents.dns.answer_cache import AnswerCache, CacheKey
from agents.dns.forwarder import Forwarder
from agents.dns.message import parse_query
from agents.dns.resolv_conf import ResolvConf, name_servers
from agents.dns.resolver import Resolver
from agents.dns.zone import Answer, Zone
from kubraft.api.time import SystemClock
from tests.agents.dns.cluster import CATALOG, asked

KEY = CacheKey(("a",), QTYPE.A, dnssec_ok=False, checking_disabled=False)


def address(ttl: int = 300, value: str = "192.0.2.1") -> RR:
    return RR("a", QTYPE.A, ttl=ttl, rdata=A(value))


class Upstream(asyncio.DatagramProtocol):
    """Another server; says what its test tells it to."""

    def __init__(self) -> None:
        self.asked = 0
        self.streams = 0
        self.silent = False
        self.rcode = RCODE.NOERROR
        self.count = 1
        self.port = 0

    async def start(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._server = server
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", self.port)
        )

    def close(self) -> None:
        self._server.close()
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        if self.silent:
            return
        wrong = self._answer(data)
        wrong.header.id ^= 1
        self._transport.sendto(bytes(wrong.pack()), addr)  # somebody else's: to be passed over
        packed = bytes(self._answer(data).pack())
        if len(packed) > 512:
            cut = DNSRecord.parse(data).reply()
            cut.header.tc = 1
            packed = bytes(cut.pack())
        self._transport.sendto(packed, addr)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.streams += 1
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        packed = bytes(self._answer(await reader.readexactly(size)).pack())
        writer.write(struct.pack("!H", len(packed)) + packed)
        writer.close()

    def _answer(self, data: bytes) -> DNSRecord:
        found = DNSRecord.parse(data).reply()
        found.header.rcode = self.rcode
        for number in range(self.count if self.rcode == RCODE.NOERROR else 0):
            found.add_answer(RR(found.q.qname, QTYPE.A, ttl=60, rdata=A(f"192.0.2.{number}")))
        return found


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    await made.start()
    yield made
    made.close()


class OnceImpatient(SystemClock):
    """Waits a second the first time, and as long as it takes from then on."""

    def __init__(self) -> None:
        self._is_first = True

    async def sleep(self, delay_s: float) -> None:
        self._is_first, first = False, self._is_first
        await super().sleep(1.0 if first else delay_s)


def forwarder(upstream: Upstream, *servers: str) -> Forwarder:
    found = servers or ("127.0.0.1",)
    clock = OnceImpatient() if upstream.silent or len(found) > 1 else SystemClock()
    return Forwarder(lambda: found, clock, Random(1), port=upstream.port, timeout_s=60)


async def test_an_answer_is_asked_for_once(upstream: Upstream) -> None:
    asking = forwarder(upstream)
    query = parse_query(asked("www.example.com"))
    answers = await asyncio.gather(*(asking.answer(query) for _ in range(20)))
    assert {str(answer.records[0].rdata) for answer in answers} == {"192.0.2.0"}
    await asking.answer(parse_query(asked("WWW.example.COM")))
    assert upstream.asked == 1
    assert asking.hits == 1


async def test_a_long_answer_comes_by_stream(upstream: Upstream) -> None:
    upstream.count = 60
    answer = await forwarder(upstream).answer(parse_query(asked("many.example.com")))
    assert len(answer.records) == 60
    assert upstream.streams == 1


async def test_names_that_do_not_exist_stay_so(upstream: Upstream) -> None:
    upstream.rcode = RCODE.NXDOMAIN
    answer = await forwarder(upstream).answer(parse_query(asked("nope.example.com")))
    assert answer.rcode == RCODE.NXDOMAIN


async def test_who_is_silent_is_passed_over(upstream: Upstream) -> None:
    silent = Upstream()
    asking = forwarder(upstream, "127.0.0.77", "127.0.0.1")
    loop = asyncio.get_running_loop()
    silent.silent = True
    transport, _ = await loop.create_datagram_endpoint(
        lambda: silent, local_addr=("127.0.0.77", upstream.port)
    )
    answer = await asking.answer(parse_query(asked("www.example.com")))
    transport.close()
    assert answer.rcode == RCODE.NOERROR
    assert silent.asked == 1


async def test_where_nobody_answers_the_failure_is_told_and_kept_for_a_moment(
    upstream: Upstream,
) -> None:
    upstream.silent = True
    asking = forwarder(upstream)
    query = parse_query(asked("www.example.com"))
    for _ in range(3):
        assert (await asking.answer(query)).rcode == RCODE.SERVFAIL
    assert upstream.asked == 1
    nobody = Forwarder(tuple, SystemClock(), Random(1))
    assert (await nobody.answer(query)).rcode == RCODE.SERVFAIL


async def test_an_external_name_is_followed_outside(upstream: Upstream) -> None:
    resolver = Resolver(Zone(CATALOG), forwarder(upstream), Random(1))
    query = parse_query(asked("outside.default.svc.cluster.local"))
    assert resolver.at_once(query) is None
    found = await resolver.resolve(query)
    assert [str(record.rname) for record in found.answer.records] == [
        "outside.default.svc.cluster.local.",
        "www.Example.com.",
    ]


def test_an_external_name_is_followed_inside() -> None:
    resolver = Resolver(Zone(CATALOG), Forwarder(tuple, SystemClock(), Random(1)), Random(1))
    found = resolver.at_once(parse_query(asked("inside.default.svc.cluster.local")))
    assert found is not None
    assert [QTYPE.get(record.rtype) for record in found.answer.records] == ["CNAME", "A"]


async def test_an_external_name_that_is_its_own_ends() -> None:
    resolver = Resolver(Zone(CATALOG), Forwarder(tuple, SystemClock(), Random(1)), Random(1))
    found = await resolver.resolve(parse_query(asked("self.default.svc.cluster.local")))
    assert 0 < len(found.answer.records) < 20


def test_addresses_come_in_an_order_by_chance_behind_their_alias() -> None:
    resolver = Resolver(Zone(CATALOG), Forwarder(tuple, SystemClock(), Random(1)), Random(1))
    orders = set()
    for _ in range(100):
        found = resolver.at_once(parse_query(asked("db.default.svc.cluster.local")))
        assert found is not None
        orders.add(tuple(str(record.rdata) for record in found.answer.records))
    assert len(orders) == 6


@pytest.mark.parametrize(
    ("answer", "kept_s"),
    [
        pytest.param(Answer(records=(address(300),)), 30, id="30 s at most"),
        pytest.param(Answer(records=(address(300), address(7))), 7, id="the shortest TTL"),
        pytest.param(Answer(records=(address(0),)), 0, id="not at all"),
        pytest.param(Answer(RCODE.SERVFAIL), 5, id="failures for a moment"),
        pytest.param(Answer(RCODE.REFUSED), 0, id="refusals not at all"),
        pytest.param(Answer(RCODE.NXDOMAIN), 0, id="no name, no word how long"),
        pytest.param(
            Answer(
                RCODE.NXDOMAIN,
                authority=(RR("a", QTYPE.SOA, ttl=60, rdata=SOA("n", "m", (1, 2, 3, 4, 9))),),
            ),
            9,
            id="no name, the zone's word",
        ),
    ],
)
def test_answers_are_kept_as_long_as_they_allow(answer: Answer, kept_s: int) -> None:
    cache = AnswerCache()
    cache.keep(KEY, answer, 100.0)
    assert (cache.find(KEY, 100.0 + kept_s - 0.1) is not None) == (kept_s > 0)
    assert cache.find(KEY, 100.0 + kept_s) is None
    assert len(cache) == 0


def test_what_is_kept_grows_older() -> None:
    cache = AnswerCache()
    cache.keep(KEY, Answer(records=(address(20),)), 100.0)
    found = cache.find(KEY, 112.5)
    assert found is not None
    assert found.records[0].ttl == 8


def test_so_many_answers_are_kept() -> None:
    cache = AnswerCache(entries_max=2)
    keys = [KEY._replace(labels=(name,)) for name in "abc"]
    for key in keys:
        cache.keep(key, Answer(records=(address(),)), 0.0)
    assert [cache.find(key, 1.0) is not None for key in keys] == [False, True, True]


def test_a_servers_alias_is_kept_with_it() -> None:
    answer = Answer(records=(RR("a", QTYPE.CNAME, ttl=9, rdata=CNAME(DNSLabel("b"))), address()))
    cache = AnswerCache()
    cache.keep(KEY, answer, 0.0)
    assert cache.find(KEY, 8.0) is not None
    assert cache.find(KEY, 9.0) is None


def test_the_hosts_name_servers_are_asked_but_not_oneself(tmp_path: Path) -> None:
    text = "# nameserver 9.9.9.9\nnameserver 192.0.2.1\nnameserver 127.0.0.10\nnameserver x\n"
    text += "search a b\nnameserver fe80::1%eth0\nnameserver 192.0.2.1\nnameserver 192.0.2.2"
    expected = ("192.0.2.1", "fe80::1%eth0", "192.0.2.2")
    assert name_servers(text, {"127.0.0.10"}) == expected
    file = tmp_path / "resolv.conf"
    found = ResolvConf(file, ())
    assert found.servers() == ()
    file.write_text("nameserver 192.0.2.1\n")
    assert found.servers() == ("192.0.2.1",)
    other = tmp_path / "other"
    other.write_text("nameserver 192.0.2.7\n")
    other.replace(file)
    assert found.servers() == ("192.0.2.7",)
