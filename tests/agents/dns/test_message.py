"""Bytes to queries, and answers to bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from dnslib import CLASS, EDNS0, QTYPE, RCODE, RR, A, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from agents.dns.message import (
    DATAGRAM_BYTES,
    PLAIN_BYTES,
    NoQueryError,
    RefusedQueryError,
    forwarded,
    parse_query,
    parse_response,
    reply,
)
from agents.dns.zone import Answer
from tests.agents.dns.cluster import asked


def refused(data: bytes) -> DNSRecord:
    with pytest.raises(RefusedQueryError) as caught:
        parse_query(data)
    return DNSRecord.parse(caught.value.reply)


def test_a_query_is_read() -> None:
    query = parse_query(asked("Web.Default.svc.cluster.local", "SRV", size=4096, do=True))
    assert query.id == 7
    assert query.question.labels == ("web", "default", "svc", "cluster", "local")
    assert query.question.kind == QTYPE.SRV
    assert query.recursion_desired
    assert (query.extended, query.dnssec_ok) == (True, True)
    assert query.datagram_bytes == DATAGRAM_BYTES


@pytest.mark.parametrize("data", [b"", b"\0" * 11, b"\0\1\x80\0" + b"\0" * 8])
def test_what_is_no_query_gets_no_answer(data: bytes) -> None:
    with pytest.raises(NoQueryError):
        parse_query(data)


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        pytest.param(asked("a.b")[:-3], "FORMERR", id="cut"),
        pytest.param(b"\0\7\1\0\0\0" + b"\0" * 6, "FORMERR", id="no question"),
        pytest.param(b"\0\7\1\0\0\2" + b"\0" * 6, "FORMERR", id="two questions"),
        pytest.param(b"\0\7\1\0\0\1" + b"\0" * 6 + b"\xc0\x0c\0\1\0\1", "FORMERR", id="a loop"),
        pytest.param(b"\0\7\x10\0\0\1" + asked("a.b")[6:], "NOTIMP", id="another opcode"),
        pytest.param(asked("cluster.local", "AXFR"), "REFUSED", id="the whole zone"),
        pytest.param(
            bytes(DNSRecord(DNSHeader(id=7), q=DNSQuestion("a.b", QTYPE.TXT, CLASS.CH)).pack()),
            "REFUSED",
            id="another class",
        ),
    ],
)
def test_queries_that_cannot_be_answered_are_told_so(data: bytes, rcode: str) -> None:
    answer = refused(data)
    assert (answer.header.id, answer.header.qr) == (7, 1)
    assert RCODE.get(answer.header.rcode) == rcode


def test_a_later_version_of_edns_is_refused_in_its_own_way() -> None:
    record = DNSRecord.parse(asked("a.b"))
    record.add_ar(EDNS0(version=1))
    answer = refused(bytes(record.pack()))
    assert answer.header.rcode == 0
    assert answer.ar[0].ttl >> 24 == 1  # BADVERS is 16


def addresses(count: int) -> Answer:
    return Answer(
        records=tuple(
            RR("web.a", QTYPE.A, ttl=5, rdata=A(f"10.0.{n >> 8}.{n & 255}")) for n in range(count)
        ),
        additional=(RR("x.a", QTYPE.A, ttl=5, rdata=A("10.1.1.1")),),
    )


@pytest.mark.parametrize("count", [0, 1, 20, 29, 30, 31, 500])
@pytest.mark.parametrize("size", [0, 600, 4096])
def test_an_answer_that_is_too_long_is_cut_and_says_so(count: int, size: int) -> None:
    query = parse_query(asked("web.a", size=size))
    sent = reply(query, addresses(count), query.datagram_bytes)
    limit = min(max(size, PLAIN_BYTES), DATAGRAM_BYTES)
    assert len(sent) <= limit
    found = DNSRecord.parse(sent)
    assert found.header.tc == (len(found.rr) < count)
    if found.header.tc:
        assert len(sent) + 16 > limit  # one more would not have fitted
    whole = DNSRecord.parse(reply(query, addresses(count), 65_535))
    assert (len(whole.rr), whole.header.tc) == (count, 0)


def test_the_answer_keeps_the_case_of_the_question() -> None:
    query = parse_query(asked("WeB.a"))
    assert b"\x03WeB\x01a" in reply(query, addresses(1), 512)


def test_only_an_answer_to_the_question_is_one() -> None:
    query = parse_query(asked("web.a"))
    question = DNSRecord.parse(forwarded(query, 99))
    assert (question.header.id, question.header.rd) == (99, 1)
    answer = question.reply()
    answer.add_answer(*addresses(1).records)
    packed = bytes(answer.pack())
    assert parse_response(packed, query.question, 99) is not None
    assert parse_response(packed, query.question, 98) is None
    assert parse_response(bytes(question.pack()), query.question, 99) is None
    other = parse_query(asked("other.a"))
    assert parse_response(packed, other.question, 99) is None
    assert parse_response(packed[:11], query.question, 99) is None


def survives(data: bytes) -> None:
    """It is a query, is none, or is refused with an answer that can be read."""
    try:
        query = parse_query(data)
    except NoQueryError:
        return
    except RefusedQueryError as refusal:
        sent = refusal.reply
    else:
        sent = reply(query, addresses(3), query.datagram_bytes)
    assert DNSRecord.parse(sent).header.id == struct.unpack_from("!H", data)[0]


@given(st.binary(max_size=200))
def test_strangers_bytes_do_no_harm(data: bytes) -> None:
    survives(data)


@given(st.data())
def test_queries_with_some_bytes_changed_do_no_harm(data: Any) -> None:
    packed = bytearray(asked("web.default.svc.cluster.local", size=1232))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(packed[: data.draw(st.integers(0, len(packed)))]))
    survives(bytes(packed))
