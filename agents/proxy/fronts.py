"""What clients may connect to, and which endpoints are behind it, from Services and EndpointSlices.

Source: Kubernetes documentation, "Virtual IPs and Service Proxies", "EndpointSlices" (conditions),
"Service" (headless, ExternalName, nodePort, externalIPs, session affinity).
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kubraft.api.object import Object, ObjectKey, key_of, labels_of

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
# Somebody else's business: another proxy's, or nobody's.
_LEFT_ALONE = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")
_PROTOCOLS = ("TCP", "UDP")
_AFFINITY_S = 10_800
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")


class Front(NamedTuple):
    """A socket that clients use."""

    protocol: str  # "TCP" or "UDP"
    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}/{self.protocol}"


class Endpoint(NamedTuple):
    """A socket of a Pod."""

    address: str
    port: int


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


def service_key_of(endpoint_slice: Object) -> ObjectKey | None:
    """The Service that a slice belongs to; None where its label names none."""
    name = labels_of(endpoint_slice).get(SERVICE_NAME_LABEL)
    return ObjectKey(key_of(endpoint_slice).namespace, name) if name else None


def fronts_of(
    services: Iterable[Object], slices: Iterable[Object], node_address: str
) -> dict[Front, Backends]:
    """Every front of every Service, the oldest Service's where two want the same one.

    Args:
        services: all of them; those that are not proxied are passed over.
        slices: all EndpointSlices.
        node_address: where node ports listen.
    """
    by_service: dict[ObjectKey, list[Object]] = defaultdict(list)
    for endpoint_slice in slices:
        key = service_key_of(endpoint_slice)
        if key is not None:
            by_service[key].append(endpoint_slice)
    table: dict[Front, Backends] = {}
    for service in sorted(services, key=_age):
        if _is_proxied(service):
            for front, backends in _of_service(service, by_service[key_of(service)], node_address):
                table.setdefault(front, backends)
    return table


def _age(service: Object) -> tuple[str, ObjectKey]:
    return service["metadata"].get("creationTimestamp") or "", key_of(service)


def _is_proxied(service: Object) -> bool:
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") in ("", "None", None):
        return False
    return not any(label in labels_of(service) for label in _LEFT_ALONE)


def _of_service(
    service: Object, slices: list[Object], node_address: str
) -> Iterable[tuple[Front, Backends]]:
    spec = service["spec"]
    own = spec.get("clusterIPs") or [spec["clusterIP"]]
    cluster_ips = [*own, *(spec.get("externalIPs") or ())]
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    balancer_ips = [
        ingress["ip"]
        for ingress in balancer.get("ingress") or ()
        if ingress.get("ip") and ingress.get("ipMode", "VIP") == "VIP"
    ]
    sources = tuple(spec.get("loadBalancerSourceRanges") or ())
    for port in spec.get("ports") or ():
        protocol = port.get("protocol", "TCP")
        if protocol not in _PROTOCOLS:
            continue
        endpoints = {family: _endpoints(slices, port, family) for family in ("IPv4", "IPv6")}

        def backends(address: str, allowed: tuple[str, ...] = ()) -> Backends:
            return Backends(
                key_of(service),
                service["metadata"].get("uid", ""),
                endpoints[_family(address)],  # noqa: B023 - called before the next port
                _affinity_s(spec),
                allowed,
            )

        for address in cluster_ips:
            yield Front(protocol, address, port["port"]), backends(address)
        for address in balancer_ips:
            yield Front(protocol, address, port["port"]), backends(address, sources)
        if spec.get("type") in _WITH_NODE_PORTS and port.get("nodePort"):
            yield Front(protocol, node_address, port["nodePort"]), backends(node_address)


def _affinity_s(spec: Mapping[str, Any]) -> float:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0.0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return float(config.get("timeoutSeconds") or _AFFINITY_S)


def _family(address: str) -> str:
    return f"IPv{ipaddress.ip_address(address).version}"


def _endpoints(
    slices: Iterable[Object], service_port: Mapping[str, Any], family: str
) -> tuple[Endpoint, ...]:
    """Those that are ready; where none is, those that end but still serve."""
    ready: set[Endpoint] = set()
    ending: set[Endpoint] = set()
    for endpoint_slice in slices:
        if endpoint_slice.get("addressType", "IPv4") != family:
            continue
        numbers = [
            port["port"]
            for port in endpoint_slice.get("ports") or ()
            if (port.get("name") or "") == (service_port.get("name") or "")
            and port.get("protocol", "TCP") == service_port.get("protocol", "TCP")
            and port.get("port")
        ]
        for endpoint in endpoint_slice.get("endpoints") or ():
            sockets = {Endpoint(a, n) for a in endpoint.get("addresses") or () for n in numbers}
            conditions = endpoint.get("conditions") or {}
            if conditions.get("ready") is not False:  # unknown is ready
                ready |= sockets
            elif conditions.get("serving") and conditions.get("terminating"):
                ending |= sockets
    return tuple(sorted(ready or ending))
