"""The answer to a question about the cluster: records, or that there are none. Pure.

NXDOMAIN says that nothing has the name, NODATA (no error, no records) that it has no record of that
type; both come with the zone's SOA, by which resolvers know how long they may remember it.

Source: Kubernetes DNS-based service discovery 1.1.0; CoreDNS, plugin kubernetes; RFC 2308 (SOA of
negative answers); RFC 6761 section 6.3 and RFC 6303 (localhost, and reverse names of loopback).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from dnslib import AAAA, CLASS, CNAME, NS, PTR, QTYPE, RCODE, RR, SOA, SRV, TXT, A, DNSLabel

from agents.dns import targets
from agents.dns.catalog import Catalog, service_key
from agents.dns.names import (
    Labels,
    PodName,
    ServiceName,
    address_of_pod,
    address_of_reverse,
    below,
    labels_of_name,
    parse,
)
from agents.dns.targets import NO_PORT, Target
from kubraft.api.object import key_of

SCHEMA_VERSION: Final = "1.1.0"
TTL_S: Final = 5
_SCHEMA_TTL_S: Final = 28_800
_REFRESH_S, _RETRY_S, _EXPIRE_S = 7_200, 1_800, 86_400
_SRV_WEIGHT: Final = 100
_LOCALHOST: Final = ("localhost",)
_LOOPBACK_ZONES: Final = (("127", "in-addr", "arpa"), ("1", *("0",) * 31, "ip6", "arpa"))


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        name: as it was written, whose case the answer keeps.
        labels: the same in lower case.
        kind: the number of the record type.
    """

    name: DNSLabel
    labels: Labels
    kind: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered.

    Attributes:
        alias: the name, outside of the zone, that the last of `records` refers to and whose own
            records should follow; None where the answer is whole.
    """

    rcode: int = RCODE.NOERROR
    records: tuple[RR, ...] = ()
    authority: tuple[RR, ...] = ()
    additional: tuple[RR, ...] = ()
    alias: DNSLabel | None = field(default=None)


def question_of(name: DNSLabel, kind: int) -> Question:
    """The question for records of that type and name."""
    labels = tuple(label.decode("latin-1").lower() for label in name.label)
    return Question(name, labels, kind)


class Zone:
    """Answers for one cluster."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        domain: str = "cluster.local",
        addresses: Callable[[], Iterable[str]] = tuple,
        ttl_s: int = TTL_S,
    ) -> None:
        """`addresses` are those of the Service by which this name server is reached."""
        self._catalog = catalog
        self._domain = labels_of_name(domain)
        self._addresses = addresses
        self._ttl_s = ttl_s

    def answer(self, question: Question) -> Answer | None:
        """The answer; None where others must be asked for that name."""
        relative = below(question.labels, self._domain)
        if relative is not None:
            return self._in_zone(question, relative)
        if question.labels == _LOCALHOST:
            return self._found(question, ["127.0.0.1", "::1"], self._domain)
        return self._reverse(question)

    def _in_zone(self, question: Question, relative: Labels) -> Answer:
        if not relative:
            return self._apex(question)
        if relative == ("ns", "dns"):
            return self._found(question, self._addresses(), self._domain)
        if relative == ("dns-version",) and question.kind == QTYPE.TXT:
            text = TXT(SCHEMA_VERSION)
            return Answer(records=(self._record(question.name, text, ttl_s=_SCHEMA_TTL_S),))
        if relative in {("dns",), ("dns-version",), ("svc",), ("pod",)}:
            return self._no_data(self._domain)
        name = parse(relative)
        if name is None or not self._catalog.has_namespace(name.namespace):
            return self._no_name(self._domain)
        if isinstance(name, PodName):
            return self._pod(question, name)
        return self._service(question, name)

    def _apex(self, question: Question) -> Answer:
        if question.kind == QTYPE.SOA:
            return Answer(records=(self._soa(self._domain, question.name),))
        if question.kind == QTYPE.NS:
            server = self._label("ns", "dns")
            records = (self._record(question.name, NS(server)),)
            return Answer(records=records, additional=self._hosts(server, self._addresses()))
        return self._no_data(self._domain)

    def _pod(self, question: Question, name: PodName) -> Answer:
        if not name.pod:
            return self._no_data(self._domain)
        address = address_of_pod(name.pod)
        if address is None:
            return self._no_name(self._domain)
        return self._found(question, [address], self._domain)

    def _service(self, question: Question, name: ServiceName) -> Answer:
        if not name.service:
            return self._no_data(self._domain)
        service = self._catalog.find_service(name.namespace, name.service)
        if service is None:
            return self._no_name(self._domain)
        if targets.is_external(service):
            return self._external(question, name, service["spec"].get("externalName") or "")
        found = targets.targets_of(self._catalog, service, name)
        if not found:
            return self._no_name(self._domain)
        if question.kind == QTYPE.SRV:
            return self._srv(question, found)
        return self._found(question, (target.address for target in found), self._domain)

    def _external(self, question: Question, name: ServiceName, other: str) -> Answer:
        if name.endpoint or name.port or name.protocol or not other or _is_address(other):
            return self._no_name(self._domain)
        if question.kind not in (QTYPE.A, QTYPE.AAAA, QTYPE.CNAME):
            return self._no_data(self._domain)
        alias = DNSLabel(tuple(label.encode() for label in other.split(".") if label))
        records = (self._record(question.name, CNAME(alias)),)
        return Answer(records=records, alias=None if question.kind == QTYPE.CNAME else alias)

    def _srv(self, question: Question, found: Iterable[Target]) -> Answer:
        with_port = [target for target in found if target.port != NO_PORT]
        if not with_port:
            return self._no_data(self._domain)
        weight = max(_SRV_WEIGHT // len(with_port), 1)
        addresses: dict[tuple[str, ...], list[str]] = {}
        records: dict[tuple[tuple[str, ...], int], RR] = {}
        for target in with_port:
            host = self._label(*target.host, "svc")
            srv = SRV(0, weight, target.port, host)
            records.setdefault((target.host, target.port), self._record(question.name, srv))
            addresses.setdefault(target.host, []).append(target.address)
        additional = (
            record
            for host, own in addresses.items()
            for record in self._hosts(self._label(*host, "svc"), own)
        )
        return Answer(records=tuple(records.values()), additional=tuple(additional))

    def _reverse(self, question: Question) -> Answer | None:
        address = address_of_reverse(question.labels)
        names = [] if address is None else list(self._names_at(address))
        if not names:
            return self._loopback(question)
        if question.kind != QTYPE.PTR:
            return self._no_data(question.labels)
        return Answer(records=tuple(self._record(question.name, PTR(name)) for name in names))

    def _loopback(self, question: Question) -> Answer | None:
        """Nobody outside knows of this machine's own addresses."""
        for zone in _LOOPBACK_ZONES:
            relative = below(question.labels, zone)
            if relative is None:
                continue
            if address_of_reverse(question.labels) not in ("127.0.0.1", "::1"):
                return self._no_data(zone) if not relative else self._no_name(zone)
            if question.kind != QTYPE.PTR:
                return self._no_data(zone)
            name = DNSLabel((b"localhost",))
            return Answer(records=(self._record(question.name, PTR(name)),))
        return None

    def _names_at(self, address: str) -> Iterable[DNSLabel]:
        services = self._catalog.services_at(address)
        for own in sorted(map(key_of, services)):
            yield self._label(own.name, own.namespace, "svc")
        if services:
            return
        hosts = {
            (host, key.name, key.namespace)
            for endpoint_slice in self._catalog.slices_at(address)
            if (key := service_key(endpoint_slice)) is not None
            and self._catalog.find_service(key.namespace, key.name) is not None
            for host in targets.hosts_at(endpoint_slice, address)
        }
        for labels in sorted(hosts):
            yield self._label(*labels, "svc")

    def _found(self, question: Question, addresses: Iterable[str], zone: Labels) -> Answer:
        """The name exists: those of its addresses that are asked for."""
        records = tuple(
            record
            for record in self._hosts(question.name, addresses)
            if record.rtype == question.kind
        )
        return Answer(records=records) if records else self._no_data(zone)

    def _hosts(self, name: DNSLabel, addresses: Iterable[str]) -> tuple[RR, ...]:
        return tuple(
            self._record(name, AAAA(address) if ":" in address else A(address))
            for address in dict.fromkeys(addresses)
        )

    def _no_data(self, zone: Labels) -> Answer:
        return Answer(authority=(self._soa(zone, _label(zone)),))

    def _no_name(self, zone: Labels) -> Answer:
        return Answer(RCODE.NXDOMAIN, authority=(self._soa(zone, _label(zone)),))

    def _soa(self, zone: Labels, name: DNSLabel) -> RR:
        times = (self._catalog.serial(), _REFRESH_S, _RETRY_S, _EXPIRE_S, self._ttl_s)
        return self._record(
            name, SOA(_label(("ns", "dns", *zone)), _label(("hostmaster", *zone)), times)
        )

    def _record(self, name: DNSLabel, data: object, *, ttl_s: int | None = None) -> RR:
        kind = getattr(QTYPE, type(data).__name__)
        return RR(name, kind, CLASS.IN, self._ttl_s if ttl_s is None else ttl_s, data)

    def _label(self, *labels: str) -> DNSLabel:
        return _label((*labels, *self._domain))


def _label(labels: Labels) -> DNSLabel:
    return DNSLabel(tuple(label.encode("latin-1") for label in labels))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
