"""The nftables rules of one family of addresses, as a value. Pure.

A `Ruleset` is all that the table `kube-proxy` should hold: chains with their rules, sets and maps
with their elements. Each Service gives a `Fragment`; `ruleset_of` puts them together with the rules
that are always there. `transaction` turns the step from one ruleset to the next into nft's words.

Names of the table, chains and maps are kube-proxy's, so that what people know of them holds here.

Source: Kubernetes documentation, "Virtual IPs and Service Proxies" (nftables proxy mode); nft(8).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from agents.proxy.service_ports import Family
from kubraft.api.object import ObjectKey

TABLE: Final = "kube-proxy"
MARK: Final = "mark-for-masquerade"
REJECT: Final = "reject-chain"
SERVICE_IPS: Final = "service-ips"
SERVICE_NODE_PORTS: Final = "service-nodeports"
NO_ENDPOINT_SERVICES: Final = "no-endpoint-services"
NO_ENDPOINT_NODE_PORTS: Final = "no-endpoint-nodeports"
FIREWALL_IPS: Final = "firewall-ips"
CLUSTER_IPS: Final = "cluster-ips"

# Before addresses are translated; priorities are numbers, as old nft knows no names in arithmetic.
_PRE_DNAT: Final = -110
_DNAT: Final = -100
_POST_DNAT: Final = -90
_SNAT: Final = 100


class Element(NamedTuple):
    """Names an element of a set or map."""

    holder: str
    key: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules in order; `hook` makes it a base chain: "type nat hook output priority -100;"."""

    rules: tuple[str, ...]
    hook: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """A set or a map.

    Attributes:
        kind: "set" or "map".
        spec: what stands between its braces.
        learned: whether the kernel fills it: its elements are not ours to keep.
    """

    kind: str
    spec: str
    learned: bool = False


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one Service adds. Elements have a verdict, or "" in sets."""

    age: tuple[str, ObjectKey]
    chains: Mapping[str, Chain] = field(default_factory=dict)
    holders: Mapping[str, Holder] = field(default_factory=dict)
    elements: Mapping[Element, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All of the table of one family."""

    family: Family
    chains: Mapping[str, Chain]
    holders: Mapping[str, Holder]
    elements: Mapping[Element, str]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a proxy's flags and its node decide.

    Attributes:
        pods: an expression that matches packets of Pods of this cluster, such as
            "ip saddr 10.244.0.0/16"; "" where they cannot be told.
        not_pods: its opposite.
        masquerade_bit: of the packet mark, 0 to 31.
        masquerade_all: whether all that goes to Services' own addresses is masqueraded.
        node_port_networks: addresses of this machine within them take node ports; empty: all but
            loopback ones.
        service_networks: where Services' own addresses are from; what has no Service is dropped.
    """

    family: Family = "IPv4"
    pods: str = ""
    not_pods: str = ""
    masquerade_bit: int = 14
    masquerade_all: bool = False
    node_port_networks: tuple[str, ...] = ()
    service_networks: tuple[str, ...] = ()

    @property
    def ip(self) -> str:
        """What nft calls the family."""
        return "ip" if self.family == "IPv4" else "ip6"

    @property
    def mark(self) -> str:
        return f"{1 << self.masquerade_bit:#010x}"


def ruleset_of(settings: Settings, fragments: Iterable[Fragment]) -> Ruleset:
    """The whole table; of two Services that want one address and port the older has it."""
    chains = _chains(settings)
    holders = _holders(settings)
    elements = {
        Element("nodeport-ips", network): "" for network in _apart(settings.node_port_networks)
    }
    for fragment in sorted(fragments, key=lambda each: each.age, reverse=True):
        chains.update(fragment.chains)
        holders.update(fragment.holders)
        elements.update(fragment.elements)
    return Ruleset(settings.family, chains, holders, elements)


def _apart(networks: Iterable[str]) -> list[str]:
    """Sorted, and none within another, as an interval set wants it."""
    found = [ipaddress.ip_network(each, strict=False) for each in networks]
    v4 = [each for each in found if isinstance(each, ipaddress.IPv4Network)]
    v6 = [each for each in found if isinstance(each, ipaddress.IPv6Network)]
    plain: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    plain += ipaddress.collapse_addresses(v4)
    plain += ipaddress.collapse_addresses(v6)
    return [str(each.network_address) if each.num_addresses == 1 else str(each) for each in plain]


def _base(kind: str, hook: str, priority: int, *rules: str) -> Chain:
    return Chain(rules, f"type {kind} hook {hook} priority {priority};")


def _chains(settings: Settings) -> dict[str, Chain]:
    ip, mark = settings.ip, settings.mark
    lookup = f"{ip} daddr . meta l4proto . th dport vmap"
    node_ports = f"{_node_port_test(settings)} meta l4proto . th dport vmap"
    unused = [f"{ip} daddr @{CLUSTER_IPS} reject"]
    if settings.service_networks:
        networks = ", ".join(_apart(settings.service_networks))
        unused.append(f"{ip} daddr {{ {networks} }} drop")
    firewall = "ct state new jump firewall-check"
    endless = "ct state new jump endpoints-check"
    return {
        MARK: Chain((f"mark set mark or {mark}",)),
        REJECT: Chain(("reject",)),
        "services": Chain(
            (f"{lookup} @{SERVICE_IPS}", f"{node_ports} @{SERVICE_NODE_PORTS}"),
        ),
        "endpoints-check": Chain(
            (f"{lookup} @{NO_ENDPOINT_SERVICES}", f"{node_ports} @{NO_ENDPOINT_NODE_PORTS}"),
        ),
        "cluster-ips-check": Chain(tuple(unused)),
        "firewall-check": Chain((f"{lookup} @{FIREWALL_IPS}",)),
        "masquerading": Chain(
            (
                # What stays on this machine comes back here by itself, and "lo" has no address
                # that would be taken.
                'oifname "lo" return',
                f"mark and {mark} == 0 return",
                f"mark set mark xor {mark}",
                "masquerade fully-random",
            )
        ),
        "filter-prerouting-pre-dnat": _base("filter", "prerouting", _PRE_DNAT, firewall),
        "filter-output-pre-dnat": _base("filter", "output", _PRE_DNAT, firewall),
        "filter-input": _base("filter", "input", _PRE_DNAT, endless),
        "filter-forward": _base(
            "filter", "forward", _PRE_DNAT, endless, "ct state new jump cluster-ips-check"
        ),
        # After the translation, so that what a policy lets through from here is not refused.
        "filter-output-post-dnat": _base(
            "filter", "output", _POST_DNAT, endless, "ct state new jump cluster-ips-check"
        ),
        "nat-prerouting": _base("nat", "prerouting", _DNAT, "jump services"),
        "nat-output": _base("nat", "output", _DNAT, "jump services"),
        "nat-postrouting": _base("nat", "postrouting", _SNAT, "jump masquerading"),
    }


def _node_port_test(settings: Settings) -> str:
    local = "fib daddr type local"
    if settings.node_port_networks:
        return f"{local} {settings.ip} daddr @nodeport-ips"
    loopback = "127.0.0.0/8" if settings.family == "IPv4" else "::1"
    return f"{local} {settings.ip} daddr != {loopback}"


def _holders(settings: Settings) -> dict[str, Holder]:
    address = "ipv4_addr" if settings.family == "IPv4" else "ipv6_addr"
    by_socket = Holder("map", f"type {address} . inet_proto . inet_service : verdict;")
    by_port = Holder("map", "type inet_proto . inet_service : verdict;")
    return {
        SERVICE_IPS: by_socket,
        SERVICE_NODE_PORTS: by_port,
        NO_ENDPOINT_SERVICES: by_socket,
        NO_ENDPOINT_NODE_PORTS: by_port,
        FIREWALL_IPS: by_socket,
        CLUSTER_IPS: Holder("set", f"type {address};"),
        "nodeport-ips": Holder("set", f"type {address}; flags interval;"),
    }
