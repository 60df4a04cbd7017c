"""The whole answer to a query: the cluster's, another server's, or both for a Service's alias."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Final, Protocol

from dnslib import QTYPE, RCODE, RR

from agents.dns.message import Query
from agents.dns.zone import Answer, Question, Zone, question_of

# Names that stand for names that stand for names.
ALIASES_MAX: Final = 8
_ADDRESSES: Final = (QTYPE.A, QTYPE.AAAA)


class Forwarding(Protocol):
    """Where names of others are asked for."""

    async def answer(self, query: Query) -> Answer:
        """Never raises: SERVFAIL is an answer."""
        ...


@dataclass(frozen=True, slots=True)
class Resolved:
    """An answer, and whether it is the cluster's own word."""

    answer: Answer
    authoritative: bool


class Resolver:
    """Answers queries; knows nothing of sockets."""

    def __init__(self, zone: Zone, forwarding: Forwarding, rng: Random) -> None:
        self._zone = zone
        self._forwarding = forwarding
        self._rng = rng

    def at_once(self, query: Query) -> Resolved | None:
        """The answer where nobody else need be asked; None otherwise."""
        own = self._own(query.question)
        if own is None or own.alias is not None:
            return None
        return Resolved(self._shuffled(own), authoritative=True)

    async def resolve(self, query: Query) -> Resolved:
        """The answer, from wherever."""
        own = self._own(query.question)
        if own is None:
            answer = await self._forwarding.answer(query)
            return Resolved(self._shuffled(answer), authoritative=False)
        if own.alias is None:
            return Resolved(self._shuffled(own), authoritative=True)
        aliased = Query(
            query.id,
            question_of(own.alias, query.question.kind),
            recursion_desired=True,
            checking_disabled=query.checking_disabled,
            dnssec_ok=query.dnssec_ok,
        )
        rest = await self._forwarding.answer(aliased)
        rcode = rest.rcode if rest.rcode in (RCODE.NOERROR, RCODE.NXDOMAIN) else RCODE.SERVFAIL
        whole = Answer(rcode, (*own.records, *rest.records), rest.authority)
        return Resolved(self._shuffled(whole), authoritative=True)

    def _own(self, question: Question) -> Answer | None:
        """The zone's answer, with its own aliases followed."""
        answer = self._zone.answer(question)
        records: tuple[RR, ...] = ()
        for _ in range(ALIASES_MAX):
            if answer is None or answer.alias is None:
                break
            following = self._zone.answer(question_of(answer.alias, question.kind))
            if following is None:
                break
            records = (*records, *answer.records)
            answer = following
        if answer is None or not records:
            return answer
        return replace(answer, records=(*records, *answer.records))

    def _shuffled(self, answer: Answer) -> Answer:
        """Addresses in an order by chance, behind the aliases that lead to them."""
        addresses = [record for record in answer.records if record.rtype in _ADDRESSES]
        if len(addresses) < 2:
            return answer
        others = [record for record in answer.records if record.rtype not in _ADDRESSES]
        self._rng.shuffle(addresses)
        return replace(answer, records=(*others, *addresses))
