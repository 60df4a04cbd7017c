"""What clients may connect to, and which endpoints are behind it, for the user-space mode. Pure.

Source: Kubernetes documentation, "Virtual IPs and Service Proxies".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from agents.proxy.service_ports import (
    Endpoint,
    Place,
    Reach,
    ServicePort,
    age_of,
    family_of,
    service_key_of,
    service_ports,
)
from kubraft.api.object import Object, ObjectKey, key_of

_PROTOCOLS: Final = ("TCP", "UDP")


class Front(NamedTuple):
    """A socket that clients use."""

    protocol: str  # "TCP" or "UDP"
    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Backends:
    """What is behind a front.

    Attributes:
        service: whose front it is.
        uid: of the Service, for Events.
        endpoints: in a stable order; empty where nobody can serve.
        affinity_s: for how long a client keeps its endpoint; 0 without session affinity.
        sources: the networks that may connect; empty where all may.
    """

    service: ObjectKey
    uid: str
    endpoints: tuple[Endpoint, ...]
    affinity_s: float = 0.0
    sources: tuple[str, ...] = ()


def fronts_of(
    services: Iterable[Object],
    slices: Iterable[Object],
    node_address: str,
    place: Place = Place(),  # noqa: B008 - a value
) -> dict[Front, Backends]:
    """Every front of every Service, the oldest Service's where two want the same one.

    Args:
        services: all of them; those that are not proxied are passed over.
        slices: all EndpointSlices.
        node_address: where node ports listen.
        place: where the proxy is; by default all nodes are here.
    """
    by_service: dict[ObjectKey, list[Object]] = defaultdict(list)
    for endpoint_slice in slices:
        key = service_key_of(endpoint_slice)
        if key is not None:
            by_service[key].append(endpoint_slice)
    table: dict[Front, Backends] = {}
    for service in sorted(services, key=age_of):
        for front, backends in _of_service(
            service, by_service[key_of(service)], node_address, place
        ):
            table.setdefault(front, backends)
    return table


def _of_service(
    service: Object, slices: Sequence[Object], node_address: str, place: Place
) -> Iterable[tuple[Front, Backends]]:
    for family in ("IPv4", "IPv6"):
        for port in service_ports(service, slices, place, family):
            if port.protocol not in _PROTOCOLS:
                continue
            for address in port.cluster_ips:
                yield _front(port, address, port.port, port.internal)
            for address in port.external_ips:
                yield _front(port, address, port.port, port.external)
            for address in port.balancer_ips:
                yield _front(port, address, port.port, port.external, port.sources)
            if port.node_port and family_of(node_address) == family:
                yield _front(port, node_address, port.node_port, port.external)


def _front(
    port: ServicePort, address: str, number: int, reach: Reach, sources: tuple[str, ...] = ()
) -> tuple[Front, Backends]:
    backends = Backends(port.service, port.uid, reach.endpoints, float(port.affinity_s), sources)
    return Front(port.protocol, address, number), backends
