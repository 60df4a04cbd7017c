"""Answers of other servers, kept for as long as they allow, and 30 s at most. Pure.

Source: RFC 1035 section 3.2.1 (TTL), RFC 2308 section 5 (negative answers: the SOA's minimum),
section 7 (failures: for a short time); kubeadm's CoreDNS (`cache 30`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from dnslib import QTYPE, RCODE, RR

from agents.dns.names import Labels
from agents.dns.zone import Answer

TTL_S_MAX: Final = 30
FAILURE_S: Final = 5
ENTRIES_MAX: Final = 10_000
# Longer answers are not kept.
RECORDS_MAX: Final = 100


class CacheKey(NamedTuple):
    """What makes two questions the same."""

    labels: Labels
    kind: int
    dnssec_ok: bool
    checking_disabled: bool


class _Entry(NamedTuple):
    answer: Answer
    since_s: float
    until_s: float


class AnswerCache:
    """Keeps ENTRIES_MAX answers; the one that was asked for the longest ago goes first."""

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._entries: OrderedDict[CacheKey, _Entry] = OrderedDict()
        self._entries_max = entries_max

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: CacheKey, now_s: float) -> Answer | None:
        """The answer, its TTLs less by the time it was kept; None where there is none any more."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now_s >= entry.until_s:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return _aged(entry.answer, int(now_s - entry.since_s))

    def keep(self, key: CacheKey, answer: Answer, now_s: float) -> None:
        """Keep it, if it may be kept at all."""
        lifetime_s = _lifetime_s(answer)
        records = len(answer.records) + len(answer.authority) + len(answer.additional)
        if lifetime_s <= 0 or records > RECORDS_MAX:
            return
        self._entries[key] = _Entry(answer, now_s, now_s + lifetime_s)
        self._entries.move_to_end(key)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)


def _lifetime_s(answer: Answer) -> int:
    if answer.rcode not in (RCODE.NOERROR, RCODE.NXDOMAIN):
        return FAILURE_S if answer.rcode == RCODE.SERVFAIL else 0
    if answer.records and answer.rcode == RCODE.NOERROR:
        return min(TTL_S_MAX, *(int(record.ttl) for record in answer.records))
    minima = [
        min(record.ttl, record.rdata.times[4])
        for record in answer.authority
        if record.rtype == QTYPE.SOA
    ]
    return min([TTL_S_MAX, *minima]) if minima else 0


def _aged(answer: Answer, age_s: int) -> Answer:
    return Answer(
        answer.rcode,
        _records(answer.records, age_s),
        _records(answer.authority, age_s),
        _records(answer.additional, age_s),
    )


def _records(records: Iterable[RR], age_s: int) -> tuple[RR, ...]:
    return tuple(
        RR(each.rname, each.rtype, each.rclass, max(each.ttl - age_s, 0), each.rdata)
        for each in records
    )
