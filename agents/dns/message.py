"""Bytes to a query, and an answer to bytes that fit. Pure.

What is no query at all gets no answer, so that nobody can have two servers answer each other for
ever; what is one but cannot be read gets FORMERR.

Source: RFC 1035 section 4.1; RFC 6891 (EDNS0: sizes, BADVERS); RFC 2181 section 9 (TC).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dnslib import CLASS, EDNS0, QTYPE, RCODE, RR, DNSError, DNSHeader, DNSQuestion, DNSRecord

from agents.dns.zone import Answer, Question, question_of

HEADER_BYTES: Final = 12
PLAIN_BYTES: Final = 512  # of a datagram to whoever does not say that it takes more
DATAGRAM_BYTES: Final = 1_232  # the most that passes every network whole (DNS flag day 2020)
STREAM_BYTES: Final = 65_535
_RESPONSE: Final = 0x8000
_OPCODE: Final = 0x7800
_RECURSION_DESIRED: Final = 0x0100
_CHECKING_DISABLED: Final = 0x0010
_DNSSEC_OK: Final = 0x8000
_REFUSED_TYPES: Final = (251, 252)  # IXFR, AXFR: nobody copies the zone
_BAD_VERSION: Final = 16


class NoQueryError(Exception):
    """The bytes are no query: whoever sent them gets nothing."""


class RefusedQueryError(Exception):
    """The query cannot be answered; `reply` says so, in bytes."""

    def __init__(self, reply: bytes) -> None:
        super().__init__("refused")
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Query:
    """A question, and how its answer must look.

    Attributes:
        datagram_bytes: the longest answer by datagram.
        extended: whether the answer has an OPT record, as the query had.
    """

    id: int
    question: Question
    recursion_desired: bool
    checking_disabled: bool = False
    datagram_bytes: int = PLAIN_BYTES
    extended: bool = False
    dnssec_ok: bool = False


def parse_query(data: bytes) -> Query:
    """Read what a client sent.

    Raises:
        NoQueryError: it is no query.
        RefusedQueryError: it is one without an answer: malformed, of an unknown kind, too much.
    """
    if len(data) < HEADER_BYTES:
        raise NoQueryError
    number, flags, questions = struct.unpack_from("!HHH", data)
    if flags & _RESPONSE:
        raise NoQueryError
    if flags & _OPCODE:
        raise RefusedQueryError(_bare(number, flags, RCODE.NOTIMP))
    record = _parse(data) if questions == 1 else None
    if record is None:
        raise RefusedQueryError(_bare(number, flags, RCODE.FORMERR))
    options = [each for each in record.ar if each.rtype == QTYPE.OPT]
    if len(options) > 1 or record.rr or record.auth:
        raise RefusedQueryError(_bare(number, flags, RCODE.FORMERR))
    asked = record.q
    query = Query(
        number,
        question_of(asked.qname, asked.qtype),
        recursion_desired=bool(flags & _RECURSION_DESIRED),
        checking_disabled=bool(flags & _CHECKING_DISABLED),
        datagram_bytes=_size(options),
        extended=bool(options),
        dnssec_ok=bool(options and options[0].ttl & _DNSSEC_OK),
    )
    if options and (options[0].ttl >> 16) & 0xFF:
        raise RefusedQueryError(reply(query, Answer(_BAD_VERSION), PLAIN_BYTES))
    if asked.qclass != CLASS.IN or asked.qtype in _REFUSED_TYPES:
        raise RefusedQueryError(reply(query, Answer(RCODE.REFUSED), PLAIN_BYTES))
    return query


def parse_response(data: bytes, asked: Question, number: int) -> DNSRecord | None:
    """What another server answered to that question; None where it is not that."""
    if len(data) < HEADER_BYTES:
        return None
    record = _parse(data)
    if record is None or record.header.id != number or not record.header.qr:
        return None
    if len(record.questions) != 1 or record.q.qtype != asked.kind:
        return None
    return record if question_of(record.q.qname, asked.kind).labels == asked.labels else None


def forwarded(query: Query, number: int) -> bytes:
    """The query as other servers are asked it."""
    record = _frame(query, DNSHeader(id=number, qr=0, aa=0, ra=0, rd=1))
    record.header.cd = int(query.checking_disabled)
    flags = "do" if query.dnssec_ok else ""
    record.add_ar(EDNS0(udp_len=DATAGRAM_BYTES, flags=flags))
    return bytes(record.pack())


def reply(query: Query, answer: Answer, size: int, *, authoritative: bool = False) -> bytes:
    """The answer in at most `size` bytes, marked as truncated where records are missing."""
    header = DNSHeader(
        id=query.id,
        qr=1,
        aa=int(authoritative),
        ra=1,
        rd=int(query.recursion_desired),
        rcode=answer.rcode & 0xF,
    )
    header.cd = int(query.checking_disabled)
    found = _packed(query, header, answer, len(answer.records), extra=True)
    if len(found) <= size:
        return found
    found = _packed(query, header, answer, len(answer.records), extra=False)
    if len(found) <= size:
        return found  # what is additional may be left out without a word
    header.tc = 1
    least, most = 0, len(answer.records)  # so many fit; so many do not
    found = _packed(query, header, answer, 0, extra=False)
    while most - least > 1:
        count = (least + most) // 2
        packed = _packed(query, header, answer, count, extra=False)
        if len(packed) <= size:
            least, found = count, packed
        else:
            most = count
    return found


def _packed(query: Query, header: DNSHeader, answer: Answer, count: int, *, extra: bool) -> bytes:
    record = _frame(query, header)
    record.add_answer(*answer.records[:count])
    if count == len(answer.records):
        record.add_auth(*answer.authority)
    if extra:
        record.add_ar(*answer.additional)
    if query.extended:
        flags = "do" if query.dnssec_ok else ""
        rcode = answer.rcode >> 4
        record.add_ar(EDNS0(udp_len=DATAGRAM_BYTES, flags=flags, ext_rcode=rcode))
    return bytes(record.pack())


def _frame(query: Query, header: DNSHeader) -> DNSRecord:
    question = DNSQuestion(query.question.name, query.question.kind, CLASS.IN)
    return DNSRecord(header, questions=[question])


def _parse(data: bytes) -> DNSRecord | None:
    """The library's reading of it; None where it cannot."""
    try:
        return DNSRecord.parse(data)
    except (DNSError, ValueError, IndexError, struct.error):
        return None


def _size(options: Iterable[RR]) -> int:
    asked = max((option.rclass for option in options), default=PLAIN_BYTES)
    return min(max(asked, PLAIN_BYTES), DATAGRAM_BYTES)


def _bare(number: int, flags: int, rcode: int) -> bytes:
    """An answer that is a header only."""
    kept = flags & (_OPCODE | _RECURSION_DESIRED)
    return struct.pack("!HHHHHH", number, _RESPONSE | kept | rcode, 0, 0, 0, 0)
