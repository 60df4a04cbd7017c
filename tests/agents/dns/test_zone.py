"""What the cluster's zone answers, by name and type."""

from __future__ import annotations

import pytest
from dnslib import QTYPE, RCODE, RR, DNSLabel
from hypothesis import given
from hypothesis import strategies as st

from agents.dns.names import address_of_pod, address_of_reverse, endpoint_name
from agents.dns.zone import Answer, Zone, question_of
from tests.agents.dns.cluster import CATALOG, SERIAL

ZONE = Zone(CATALOG, addresses=lambda: ["10.0.0.10"])
SOA = (
    "cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. "
    f"{SERIAL} 7200 1800 86400 5"
)


def ask(name: str, kind: str) -> Answer | None:
    return ZONE.answer(question_of(DNSLabel(name), getattr(QTYPE, kind)))


def shown(records: tuple[RR, ...]) -> list[str]:
    return [f"{r.rname} {r.ttl} {QTYPE.get(r.rtype)} {r.rdata}" for r in records]


SVC = "default.svc.cluster.local"


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        pytest.param("dns-version.cluster.local", "TXT", ['28800 TXT "1.1.0"'], id="schema"),
        pytest.param(f"web.{SVC}", "A", ["5 A 10.0.0.9"], id="service"),
        pytest.param(f"WeB.{SVC}", "A", ["5 A 10.0.0.9"], id="in any case"),
        pytest.param(f"both.{SVC}", "A", ["5 A 10.0.0.7"], id="dual stack, IPv4"),
        pytest.param(f"both.{SVC}", "AAAA", ["5 AAAA fd00::7"], id="dual stack, IPv6"),
        pytest.param(
            f"_http._tcp.web.{SVC}", "SRV", [f"5 SRV 0 100 80 web.{SVC}."], id="named port"
        ),
        pytest.param(
            f"_DNS._UDP.web.{SVC}", "SRV", [f"5 SRV 0 100 53 web.{SVC}."], id="port in any case"
        ),
        pytest.param(
            f"web.{SVC}",
            "SRV",
            [f"5 SRV 0 50 80 web.{SVC}.", f"5 SRV 0 50 53 web.{SVC}."],
            id="all ports",
        ),
        pytest.param(f"_http._tcp.web.{SVC}", "A", ["5 A 10.0.0.9"], id="address by port"),
        pytest.param(
            f"db.{SVC}", "A", ["5 A 10.1.0.2", "5 A 10.1.0.3", "5 A 10.1.0.5"], id="headless"
        ),
        pytest.param(f"db.{SVC}", "AAAA", ["5 AAAA fd00::1:0"], id="headless, IPv6"),
        pytest.param(f"db-0.db.{SVC}", "A", ["5 A 10.1.0.2"], id="endpoint with a name"),
        pytest.param(f"db-1.db.{SVC}", "A", ["5 A 10.1.0.3"], id="readiness unknown is ready"),
        pytest.param(f"10-1-0-5.db.{SVC}", "A", ["5 A 10.1.0.5"], id="endpoint without a name"),
        pytest.param(f"10-1-0-1.web.{SVC}", "A", ["5 A 10.1.0.1"], id="endpoint of a Service"),
        pytest.param(f"bare.{SVC}", "A", ["5 A 10.1.0.6"], id="headless without ports"),
        pytest.param(
            f"_metrics._tcp.db.{SVC}",
            "SRV",
            [
                f"5 SRV 0 33 9 db-0.db.{SVC}.",
                f"5 SRV 0 33 9 db-1.db.{SVC}.",
                f"5 SRV 0 33 9 10-1-0-5.db.{SVC}.",
            ],
            id="ports of endpoints",
        ),
        pytest.param(f"outside.{SVC}", "A", ["5 CNAME www.Example.com."], id="external, A"),
        pytest.param(f"outside.{SVC}", "CNAME", ["5 CNAME www.Example.com."], id="external, CNAME"),
        pytest.param("10-1-0-99.default.pod.cluster.local", "A", ["5 A 10.1.0.99"], id="pod"),
        pytest.param("fd00--9.default.pod.cluster.local", "AAAA", ["5 AAAA fd00::9"], id="pod v6"),
        pytest.param("9.0.0.10.in-addr.arpa", "PTR", [f"5 PTR web.{SVC}."], id="service's PTR"),
        pytest.param("2.0.1.10.in-addr.arpa", "PTR", [f"5 PTR db-0.db.{SVC}."], id="endpoint's"),
        pytest.param(
            f"{'7' + '.0' * 28}.0.d.f.ip6.arpa", "PTR", [f"5 PTR both.{SVC}."], id="PTR, IPv6"
        ),
        pytest.param("1.0.0.127.in-addr.arpa", "PTR", ["5 PTR localhost."], id="localhost's PTR"),
        pytest.param("localhost", "A", ["5 A 127.0.0.1"], id="localhost"),
        pytest.param("ns.dns.cluster.local", "A", ["5 A 10.0.0.10"], id="name server"),
        pytest.param("cluster.local", "NS", ["5 NS ns.dns.cluster.local."], id="apex, NS"),
        pytest.param("cluster.local", "SOA", [SOA.partition(" ")[2]], id="apex, SOA"),
    ],
)
def test_names_have_their_records(name: str, kind: str, expected: list[str]) -> None:
    answer = ask(name, kind)
    assert answer is not None
    assert answer.rcode == RCODE.NOERROR
    assert shown(answer.records) == [f"{name}. {record}" for record in expected]
    assert not answer.authority


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(f"web.{SVC}", "AAAA", id="another type"),
        pytest.param(f"web.{SVC}", "MX", id="a type that no Service has"),
        pytest.param(f"web.{SVC}", "TXT", id="text"),
        pytest.param(f"bare.{SVC}", "SRV", id="ports of a Service without ports"),
        pytest.param(f"outside.{SVC}", "SRV", id="ports of an external name"),
        pytest.param("cluster.local", "A", id="the zone itself"),
        pytest.param("svc.cluster.local", "A", id="svc"),
        pytest.param("pod.cluster.local", "A", id="pod"),
        pytest.param("empty.svc.cluster.local", "A", id="a namespace"),
        pytest.param("default.pod.cluster.local", "A", id="a namespace's Pods"),
        pytest.param("10-1-0-1.default.pod.cluster.local", "AAAA", id="Pod, other family"),
        pytest.param("dns-version.cluster.local", "A", id="schema, other type"),
    ],
)
def test_names_without_a_record_of_that_type_are_told_apart(name: str, kind: str) -> None:
    answer = ask(name, kind)
    assert answer is not None
    assert (answer.rcode, answer.records) == (RCODE.NOERROR, ())
    assert shown(answer.authority) == [SOA]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(f"nope.{SVC}", id="no such Service"),
        pytest.param("web.nope.svc.cluster.local", id="no such namespace"),
        pytest.param("nope.svc.cluster.local", id="only a namespace, and not there"),
        pytest.param("web.default.cluster.local", id="neither svc nor pod"),
        pytest.param(f"example.com.{SVC}", id="what search lists make"),
        pytest.param(f"a.b.c.web.{SVC}", id="too many labels"),
        pytest.param(f"_nope._tcp.web.{SVC}", id="no such port"),
        pytest.param(f"_http._udp.web.{SVC}", id="no such protocol"),
        pytest.param(f"db-2.db.{SVC}", id="an endpoint that is not ready"),
        pytest.param(f"db-9.db.{SVC}", id="no such endpoint"),
        pytest.param(f"lonely.{SVC}", id="headless without endpoints"),
        pytest.param(f"x.outside.{SVC}", id="an endpoint of an external name"),
        pytest.param(f"number.{SVC}", id="an external name that is an address"),
        pytest.param("10-1-0.default.pod.cluster.local", id="no address"),
        pytest.param("10-1-0-1.nope.pod.cluster.local", id="Pod of no namespace"),
        pytest.param("x.10-1-0-1.default.pod.cluster.local", id="below a Pod"),
    ],
)
@pytest.mark.parametrize("kind", ["A", "SRV"])
def test_names_that_nobody_has_do_not_exist(name: str, kind: str) -> None:
    answer = ask(name, kind)
    assert answer is not None
    assert (answer.rcode, answer.records) == (RCODE.NXDOMAIN, ())
    assert shown(answer.authority) == [SOA]


@pytest.mark.parametrize(
    "name",
    ["example.com", "cluster.local.example.com", "local", "xcluster.local", "4.3.2.8.in-addr.arpa"],
)
def test_names_of_others_are_not_answered(name: str) -> None:
    assert ask(name, "A") is None


def test_a_machines_own_addresses_are_asked_of_nobody() -> None:
    answer = ask("9.8.7.127.in-addr.arpa", "PTR")
    assert answer is not None
    assert answer.rcode == RCODE.NXDOMAIN


def test_a_label_with_a_dot_in_it_is_no_two_labels() -> None:
    name = DNSLabel((b"web.default", b"svc", b"cluster", b"local"))
    answer = ZONE.answer(question_of(name, QTYPE.A))
    assert answer is not None
    assert answer.rcode == RCODE.NXDOMAIN


def test_ports_come_with_the_addresses_of_their_hosts() -> None:
    answer = ask(f"_sql._tcp.db.{SVC}", "SRV")
    assert answer is not None
    assert shown(answer.additional) == [
        f"db-0.db.{SVC}. 5 A 10.1.0.2",
        f"db-1.db.{SVC}. 5 A 10.1.0.3",
        f"10-1-0-5.db.{SVC}. 5 A 10.1.0.5",
        f"fd00--1-0.db.{SVC}. 5 AAAA fd00::1:0",
    ]


@given(st.ip_addresses().map(str))
def test_an_endpoints_own_name_says_its_address(address: str) -> None:
    label = endpoint_name(address)
    assert address_of_pod(label) == address or label.startswith("-")


@given(st.ip_addresses())
def test_a_reverse_name_says_its_address(address: object) -> None:
    labels = tuple(getattr(address, "reverse_pointer").split("."))  # noqa: B009
    assert address_of_reverse(labels) == str(address)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=7), st.integers(0, 300))
def test_any_name_in_the_zone_has_an_answer(labels: list[bytes], kind: int) -> None:
    name = DNSLabel((*labels, b"cluster", b"LOCAL"))
    answer = ZONE.answer(question_of(name, kind))
    assert answer is not None
    assert answer.records or answer.authority
