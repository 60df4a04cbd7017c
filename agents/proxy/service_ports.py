"""What each port of a Service asks of a proxy: its addresses, and who is behind them. Pure.

Both modes begin here. Which endpoints may serve is decided as upstream does: those that are ready;
where none is, those that end but still serve; of them, those on this node where the traffic policy
is Local, and else those that hints or `trafficDistribution` prefer from here.

Source: Kubernetes documentation, "Virtual IPs and Service Proxies" (traffic policies, terminating
endpoints, traffic distribution), "EndpointSlices" (conditions, hints), "Service"; KEP-1669,
KEP-2086, KEP-4444.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from kubraft.api.object import Object, ObjectKey, key_of, labels_of

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
AFFINITY_S: Final = 10_800

Family = Literal["IPv4", "IPv6"]
Verdict = Literal["", "reject", "drop"]

# Somebody else's business: another proxy's, or nobody's.
_LEFT_ALONE: Final = (
    "service.kubernetes.io/service-proxy-name",
    "service.kubernetes.io/headless",
)
_WITH_NODE_PORTS: Final = ("NodePort", "LoadBalancer")


class Endpoint(NamedTuple):
    """A socket of a Pod."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy is.

    Attributes:
        nodes: the nodes whose endpoints are local here; None where every node is on this machine.
        zone: of this node; "" where it is not known.
    """

    nodes: frozenset[str] | None = None
    zone: str = ""

    def has(self, node: str) -> bool:
        """Whether an endpoint on that node is local."""
        return self.nodes is None or node in self.nodes


class Reach(NamedTuple):
    """Who is behind one kind of traffic, and what befalls it where nobody is."""

    endpoints: tuple[Endpoint, ...]
    otherwise: Verdict


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service, for one family of addresses.

    Attributes:
        service: whose it is.
        uid: of the Service, for Events.
        name: of the port; "" where it has none.
        protocol: "TCP", "UDP" or "SCTP".
        cluster_ips: its own addresses, of the family.
        external_ips: of `spec.externalIPs`.
        balancer_ips: of its load balancer, where that passes packets on with this address.
        node_port: 0 without.
        affinity_s: for how long a client keeps its endpoint; 0 without session affinity.
        sources: the networks that may use `balancer_ips`; empty where all may.
        internal: behind `cluster_ips`.
        external: behind all the others.
        anywhere: behind all the others for clients within the cluster, whatever the policy.
        external_local: whether the external traffic policy is Local: clients' addresses are kept.
        serving: all endpoints that still serve, ready or not: what flows there may go on.
    """

    service: ObjectKey
    uid: str
    name: str
    protocol: str
    port: int
    cluster_ips: tuple[str, ...]
    external_ips: tuple[str, ...]
    balancer_ips: tuple[str, ...]
    node_port: int
    affinity_s: int
    sources: tuple[str, ...]
    internal: Reach
    external: Reach
    anywhere: Reach
    external_local: bool
    serving: tuple[Endpoint, ...]

    def __str__(self) -> str:
        named = f":{self.name}" if self.name else ""
        return f"{self.service.namespace}/{self.service.name}{named}"


def service_key_of(endpoint_slice: Object) -> ObjectKey | None:
    """The Service that a slice belongs to; None where its label names none."""
    name = labels_of(endpoint_slice).get(SERVICE_NAME_LABEL)
    return ObjectKey(key_of(endpoint_slice).namespace, name) if name else None


def age_of(service: Object) -> tuple[str, ObjectKey]:
    """Sorts Services: of two that want one address, the older one has it."""
    return service["metadata"].get("creationTimestamp") or "", key_of(service)


def is_proxied(service: Object) -> bool:
    """Whether a proxy has anything to do for it."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") in ("", "None", None):
        return False
    return not any(label in labels_of(service) for label in _LEFT_ALONE)


def family_of(address: str) -> Family:
    """Which family a valid address or network is of."""
    return "IPv6" if ":" in address else "IPv4"


def service_ports(
    service: Object, slices: Iterable[Object], place: Place, family: Family
) -> list[ServicePort]:
    """All ports of a Service that have an address of that family.

    Args:
        service: empty is the answer where it is not proxied.
        slices: those of this Service, of any family.
        place: where the proxy is.
        family: of addresses and endpoints.
    """
    if not is_proxied(service):
        return []
    spec = service["spec"]
    own = _of_family(spec.get("clusterIPs") or [spec["clusterIP"]], family)
    external = _of_family(spec.get("externalIPs") or (), family)
    balancer = _of_family(_balancer_ips(service), family)
    with_node_ports = spec.get("type") in _WITH_NODE_PORTS and _has_family(spec, family)
    if not (own or external or balancer or with_node_ports):
        return []
    found = [each for each in slices if each.get("addressType", "IPv4") == family]
    made = []
    for port in spec.get("ports") or ():
        candidates = _candidates(found, port, place)
        reaches = _reaches(spec, candidates, place)
        made.append(
            ServicePort(
                service=key_of(service),
                uid=service["metadata"].get("uid", ""),
                name=port.get("name") or "",
                protocol=port.get("protocol", "TCP"),
                port=port["port"],
                cluster_ips=own,
                external_ips=external,
                balancer_ips=balancer,
                node_port=(port.get("nodePort") or 0) if with_node_ports else 0,
                affinity_s=_affinity_s(spec),
                sources=_sources(spec, family),
                internal=reaches[0],
                external=reaches[1],
                anywhere=reaches[2],
                external_local=_external_local(spec),
                serving=tuple(each.socket for each in candidates),
            )
        )
    return made


def local_ready_count(slices: Iterable[Object], place: Place) -> int:
    """How many local endpoints are ready, as a health check of a load balancer counts them.

    Each address counts once; those that end do not count, so that balancers go elsewhere.
    """
    return len(
        {
            address
            for endpoint_slice in slices
            for endpoint in endpoint_slice.get("endpoints") or ()
            if _is_ready(endpoint) and place.has(endpoint.get("nodeName") or "")
            for address in endpoint.get("addresses") or ()
        }
    )


class _Candidate(NamedTuple):
    """An endpoint that may serve, ready or about to end."""

    socket: Endpoint
    ready: bool
    local: bool
    zones: tuple[str, ...]
    nodes: tuple[str, ...]


def _of_family(addresses: Iterable[str], family: Family) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for each in addresses if family_of(each) == family))


def _has_family(spec: Mapping[str, Any], family: Family) -> bool:
    families = spec.get("ipFamilies")
    own = spec.get("clusterIPs") or [spec["clusterIP"]]
    return family in (families or [family_of(each) for each in own])


def _balancer_ips(service: Object) -> list[str]:
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    return [
        ingress["ip"]
        for ingress in balancer.get("ingress") or ()
        if ingress.get("ip") and ingress.get("ipMode", "VIP") == "VIP"
    ]


def _sources(spec: Mapping[str, Any], family: Family) -> tuple[str, ...]:
    """The networks, in their plain form; where all are of the other family nobody may."""
    given = [each.strip() for each in spec.get("loadBalancerSourceRanges") or ()]
    networks = [str(ipaddress.ip_network(each, strict=False)) for each in given]
    own = tuple(sorted({each for each in networks if family_of(each) == family}))
    nobody = "255.255.255.255/32" if family == "IPv4" else "::/128"
    return own or ((nobody,) if networks else ())


def _affinity_s(spec: Mapping[str, Any]) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or AFFINITY_S)


def _external_local(spec: Mapping[str, Any]) -> bool:
    return spec.get("externalTrafficPolicy") == "Local"


def _is_ready(endpoint: Mapping[str, Any]) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False  # unknown is ready


def _candidates(
    slices: Iterable[Object], service_port: Mapping[str, Any], place: Place
) -> list[_Candidate]:
    """Sorted by socket; where slices name one twice, the one that is ready counts."""
    found: dict[Endpoint, _Candidate] = {}
    wanted = (service_port.get("name") or "", service_port.get("protocol", "TCP"))
    for endpoint_slice in slices:
        numbers = [
            port["port"]
            for port in endpoint_slice.get("ports") or ()
            if (port.get("name") or "", port.get("protocol", "TCP")) == wanted and port.get("port")
        ]
        for endpoint in endpoint_slice.get("endpoints") or () if numbers else ():
            conditions = endpoint.get("conditions") or {}
            ready = _is_ready(endpoint)
            if not ready and not (conditions.get("serving") and conditions.get("terminating")):
                continue
            hints = endpoint.get("hints") or {}
            zones = tuple(each["name"] for each in hints.get("forZones") or ())
            nodes = tuple(each["name"] for each in hints.get("forNodes") or ())
            local = place.has(endpoint.get("nodeName") or "")
            # An endpoint has one address; more are the same Pod by another name.
            for address in (endpoint.get("addresses") or ())[:1]:
                for number in numbers:
                    socket = Endpoint(address, number)
                    if socket not in found or not found[socket].ready:
                        found[socket] = _Candidate(socket, ready, local, zones, nodes)
    return [found[socket] for socket in sorted(found)]


def _reaches(
    spec: Mapping[str, Any], candidates: Sequence[_Candidate], place: Place
) -> tuple[Reach, Reach, Reach]:
    """Behind the Service's own addresses, behind the others, and behind those from within."""
    cluster = _sockets(_near(candidates, place))
    local = _sockets([each for each in candidates if each.local])
    everywhere = Reach(cluster, "" if cluster else "reject")
    # Somebody else's node would do: silence lets the client's retry go there.
    here = Reach(local, "" if local else "drop" if candidates else "reject")
    internal = here if spec.get("internalTrafficPolicy") == "Local" else everywhere
    return internal, here if _external_local(spec) else everywhere, everywhere


def _sockets(candidates: Iterable[_Candidate]) -> tuple[Endpoint, ...]:
    """Those that are ready; where none is, those that end but still serve."""
    found = list(candidates)
    ready = tuple(each.socket for each in found if each.ready)
    return ready or tuple(each.socket for each in found)


def _near(candidates: Sequence[_Candidate], place: Place) -> Sequence[_Candidate]:
    """Those that hints give to this node, else to its zone; hints count where all have them."""
    ready = [each for each in candidates if each.ready]
    if place.nodes is not None and all(each.nodes for each in ready):
        near = [each for each in ready if place.nodes.intersection(each.nodes)]
        if near:
            return near
    if place.zone and all(each.zones for each in ready):
        near = [each for each in ready if place.zone in each.zones]
        if near:
            return near
    return candidates
