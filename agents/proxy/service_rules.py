"""The nftables rules of one Service. Pure.

    service-ips, service-nodeports (maps)
      > external-... (from outside: masquerade, or keep to this node)
        > service-... or local-... (which endpoint)
          > endpoint-... (hairpin, affinity, translation)

Chains are named as kube-proxy names them, with a hash first, as nft shows long names shortened.

Source: Kubernetes documentation, "Virtual IPs and Service Proxies"; KEP-3866.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from agents.proxy.ruleset import (
    CLUSTER_IPS,
    FIREWALL_IPS,
    MARK,
    NO_ENDPOINT_NODE_PORTS,
    NO_ENDPOINT_SERVICES,
    REJECT,
    SERVICE_IPS,
    SERVICE_NODE_PORTS,
    Chain,
    Element,
    Fragment,
    Holder,
    Settings,
)
from agents.proxy.service_ports import (
    Endpoint,
    Place,
    Reach,
    ServicePort,
    age_of,
    service_ports,
)
from kubraft.api.object import Object

_NAME_CHARS_MAX: Final = 200
_CLIENTS_MAX: Final = 65_535
_VERDICTS: Final = {"reject": f"goto {REJECT}", "drop": "drop"}


def fragment_of(
    service: Object, slices: Iterable[Object], place: Place, settings: Settings
) -> Fragment:
    """Everything that one Service needs in the table of one family."""
    made = _Rules(settings)
    for port in service_ports(service, slices, place, settings.family):
        made.add(port)
    return Fragment(age_of(service), made.chains, made.holders, made.elements)


class _Rules:
    """Collects the rules of a Service."""

    def __init__(self, settings: Settings) -> None:
        self.chains: dict[str, Chain] = {}
        self.holders: dict[str, Holder] = {}
        self.elements: dict[Element, str] = {}
        self._settings = settings

    def add(self, port: ServicePort) -> None:
        for address in port.cluster_ips:
            self.elements[Element(CLUSTER_IPS, address)] = ""
        service = self._balancing(port, "service", port.anywhere)
        local = service
        if port.anywhere.endpoints != self._local(port).endpoints:
            local = self._balancing(port, "local", self._local(port))
        internal = service if port.internal == port.anywhere else local
        self._enter(port, port.cluster_ips, port.internal, internal)
        outer = (*port.external_ips, *port.balancer_ips)
        if not outer and not port.node_port:
            return
        external = self._external(port, service, local)
        self._enter(port, outer, port.external, external)
        self._node_port(port, external)
        self._firewall(port)

    def _local(self, port: ServicePort) -> Reach:
        """Behind whichever policy is Local; what is anywhere where none is."""
        return port.external if port.external_local else port.internal

    def _enter(self, port: ServicePort, addresses: Sequence[str], reach: Reach, chain: str) -> None:
        """What comes to these addresses goes to the chain, or is refused."""
        for address in addresses:
            key = f"{address} . {port.protocol.lower()} . {port.port}"
            if chain:
                self.elements[Element(SERVICE_IPS, key)] = f"goto {chain}"
            if reach.otherwise:
                self.elements[Element(NO_ENDPOINT_SERVICES, key)] = _VERDICTS[reach.otherwise]

    def _node_port(self, port: ServicePort, chain: str) -> None:
        if not port.node_port:
            return
        key = f"{port.protocol.lower()} . {port.node_port}"
        if chain:
            self.elements[Element(SERVICE_NODE_PORTS, key)] = f"goto {chain}"
        if port.external.otherwise:
            verdict = _VERDICTS[port.external.otherwise]
            self.elements[Element(NO_ENDPOINT_NODE_PORTS, key)] = verdict

    def _balancing(self, port: ServicePort, prefix: str, reach: Reach) -> str:
        """A chain that picks one of the endpoints; "" where there are none."""
        if not reach.endpoints:
            return ""
        name = _name(prefix, port)
        rules = self._masquerade(port) if self._is_entered(port, reach) else []
        chains = [self._endpoint(port, endpoint) for endpoint in reach.endpoints]
        if port.affinity_s:
            rules += [
                f"{self._settings.ip} saddr @{_affinity(port, endpoint)} goto {chain}"
                for endpoint, chain in zip(reach.endpoints, chains, strict=True)
            ]
        choices = ", ".join(f"{number} : goto {chain}" for number, chain in enumerate(chains))
        rules.append(f"numgen random mod {len(chains)} vmap {{ {choices} }}")
        self.chains[name] = Chain(tuple(rules))
        return name

    def _is_entered(self, port: ServicePort, reach: Reach) -> bool:
        """Whether the chain is what the Service's own addresses lead to."""
        return reach.endpoints == port.internal.endpoints

    def _masquerade(self, port: ServicePort) -> list[str]:
        """Who is no Pod of this cluster would not know the answer's sender."""
        who = "" if self._settings.masquerade_all else self._settings.not_pods
        if not who and not self._settings.masquerade_all:
            return []
        ip, protocol = self._settings.ip, port.protocol.lower()
        return [
            " ".join(
                filter(
                    None,
                    (f"{ip} daddr {address} {protocol} dport {port.port}", who, f"jump {MARK}"),
                )
            )
            for address in port.cluster_ips
        ]

    def _external(self, port: ServicePort, service: str, local: str) -> str:
        """A chain for what comes from outside; "" where it leads nowhere."""
        if not service:
            return ""
        rules = [f"jump {MARK}", f"goto {service}"]
        if port.external_local:
            rules = [
                f"fib saddr type local jump {MARK}",
                f"fib saddr type local goto {service}",
            ]
            if self._settings.pods:
                rules.insert(0, f"{self._settings.pods} goto {service}")
            if port.external.endpoints:
                rules.append(f"goto {local}")
        name = _name("external", port)
        self.chains[name] = Chain(tuple(rules))
        return name

    def _firewall(self, port: ServicePort) -> None:
        if not port.sources or not port.balancer_ips:
            return
        name = _name("firewall", port)
        sources = ", ".join(port.sources)
        self.chains[name] = Chain((f"{self._settings.ip} saddr != {{ {sources} }} drop",))
        for address in port.balancer_ips:
            key = f"{address} . {port.protocol.lower()} . {port.port}"
            self.elements[Element(FIREWALL_IPS, key)] = f"goto {name}"

    def _endpoint(self, port: ServicePort, endpoint: Endpoint) -> str:
        """A chain that leads to that endpoint."""
        name = _name("endpoint", port, endpoint)
        if name in self.chains:
            return name
        ip = self._settings.ip
        # A Pod that reaches itself must see the answer come through here.
        rules = [f"{ip} saddr {endpoint.address} jump {MARK}"]
        if port.affinity_s:
            clients = _affinity(port, endpoint)
            address = "ipv4_addr" if ip == "ip" else "ipv6_addr"
            spec = (
                f"type {address}; flags dynamic,timeout; timeout {port.affinity_s}s; "
                f"size {_CLIENTS_MAX};"
            )
            self.holders[clients] = Holder("set", spec, learned=True)
            rules.append(f"update @{clients} {{ {ip} saddr }}")
        host = f"[{endpoint.address}]" if ip == "ip6" else endpoint.address
        rules.append(f"meta l4proto {port.protocol.lower()} dnat to {host}:{endpoint.port}")
        self.chains[name] = Chain(tuple(rules))
        return name


def _affinity(port: ServicePort, endpoint: Endpoint) -> str:
    """Its clients; another set for another time, as that of a set cannot be changed."""
    return _name("affinity", port, endpoint, salt=str(port.affinity_s))


def _name(prefix: str, port: ServicePort, endpoint: Endpoint | None = None, salt: str = "") -> str:
    """As "service-ULMVA6XW-ns1/svc1/tcp/p80"."""
    service = port.service
    parts = [service.namespace, service.name, port.protocol.lower(), port.name]
    text = "/".join(parts)
    if endpoint is not None:
        text += f"__{endpoint.address.replace(':', '.')}/{endpoint.port}"
    digest = hashlib.sha256(f"{text}{salt}".encode()).digest()
    code = base64.b32encode(digest)[:8].decode()
    return f"{prefix}-{code}-{text}"[:_NAME_CHARS_MAX]
