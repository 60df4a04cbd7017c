"""A cluster that stands still, for the zone to read; and queries, as short as a test wants them."""

from __future__ import annotations

import struct
from typing import Any

from dnslib import EDNS0, DNSHeader, DNSQuestion, DNSRecord

from agents.dns.catalog import service_key, short_form
from kubraft.api.object import Object, key_of
from tests.agents.proxy.objects import service as proxy_service
from tests.agents.proxy.objects import slice_of

SERIAL = 1_795_000_000


class StillCatalog:
    """Holds what it is given."""

    def __init__(self, services: list[Object], slices: list[Object]) -> None:
        self._services, self._slices = services, slices

    def has_namespace(self, name: str) -> bool:
        return name in ("default", "kube-system", "empty")

    def find_service(self, namespace: str, name: str) -> Object | None:
        return next((s for s in self._services if key_of(s) == (namespace, name)), None)

    def slices_of(self, namespace: str, name: str) -> list[Object]:
        return [each for each in self._slices if service_key(each) == (namespace, name)]

    def services_at(self, address: str) -> list[Object]:
        return [s for s in self._services if address in map(short_form, _addresses(s))]

    def slices_at(self, address: str) -> list[Object]:
        return [
            each
            for each in self._slices
            if any(address in endpoint["addresses"] for endpoint in each["endpoints"])
        ]

    def serial(self) -> int:
        return SERIAL


def _addresses(service: Object) -> list[str]:
    return service["spec"].get("clusterIPs") or [service["spec"].get("clusterIP", "")]


def service(name: str, *ports: Object, **spec: Any) -> Object:
    return proxy_service(name, ports=list(ports), **spec)


def port(number: int, name: str = "", protocol: str = "TCP") -> Object:
    return {"name": name, "port": number, "protocol": protocol}


def endpoints(
    name: str, *found: Object, ports: tuple[Object, ...] = (), family: str = "IPv4"
) -> Object:
    made = slice_of(name, *found, ports=ports, addressType=family)
    return made if ports else {**made, "ports": []}


def endpoint(address: str, hostname: str = "", **conditions: bool) -> Object:
    made: Object = {"addresses": [address], "conditions": conditions}
    return {**made, "hostname": hostname} if hostname else made


WEB = service(
    "web", port(80, "http"), port(53, "dns", "UDP"), clusterIP="10.0.0.9", clusterIPs=["10.0.0.9"]
)
CATALOG = StillCatalog(
    [
        WEB,
        service("both", port(80), clusterIP="10.0.0.7", clusterIPs=["10.0.0.7", "fd00::7"]),
        service("db", port(5432, "sql"), port(9, "metrics"), clusterIP="None"),
        service("bare", clusterIP="None"),
        service("lonely", port(80), clusterIP="None"),
        service("outside", type="ExternalName", externalName="www.Example.com", clusterIP=""),
        service("inside", type="ExternalName", externalName="web.default.svc.cluster.local"),
        service("self", type="ExternalName", externalName="self.default.svc.cluster.local"),
        service("number", type="ExternalName", externalName="192.0.2.1", clusterIP=""),
    ],
    [
        endpoints("web", endpoint("10.1.0.1", ready=True), ports=(port(8080, "http"),)),
        endpoints(
            "db",
            endpoint("10.1.0.2", "db-0", ready=True),
            endpoint("10.1.0.3", "DB-1"),  # readiness unknown
            endpoint("10.1.0.4", "db-2", ready=False),
            endpoint("10.1.0.5"),
            ports=(port(5432, "sql"), port(9, "metrics")),
        ),
        endpoints(
            "db", endpoint("fd00::1:0", ready=True), ports=(port(5432, "sql"),), family="IPv6"
        ),
        endpoints("bare", endpoint("10.1.0.6", ready=True)),
    ],
)


def asked(name: str, kind: str = "A", *, size: int = 0, do: bool = False, number: int = 7) -> bytes:
    """A query; with EDNS where `size`, of datagrams, is not 0."""
    from dnslib import QTYPE

    record = DNSRecord(DNSHeader(id=number, rd=1), q=DNSQuestion(name, getattr(QTYPE, kind)))
    if size:
        record.add_ar(EDNS0(udp_len=size, flags="do" if do else ""))
    return bytes(record.pack())


def framed(data: bytes) -> bytes:
    """As streams carry it."""
    return struct.pack("!H", len(data)) + data
