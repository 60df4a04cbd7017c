"""NetworkPolicies, IPAddresses, ServiceCIDRs and EndpointSlices.

Source: Kubernetes API reference, networking.k8s.io/v1 and discovery.k8s.io/v1; texts of upstream's
validation.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, Final

from apiserver.registry.causes import all_invalid, forbidden, invalid, required
from apiserver.registry.columns import AGE, NAME, UNSET, cell, columns, selector
from apiserver.registry.kinds.core import PORT_CHECKS
from apiserver.registry.paths import Place, at, places
from apiserver.registry.resource import Resource
from apiserver.registry.rules import (
    Check,
    RuleStrategy,
    label_selector,
    named,
    needed,
    one_of,
    truly,
    unique,
)
from kubraft.api.errors import Cause
from kubraft.api.gvk import IP_ADDRESS, SERVICE_CIDR, GroupVersionKind
from kubraft.api.names import dns1123_label_errors, port_name_errors, port_number_errors
from kubraft.api.object import Object

NETWORK_POLICY = GroupVersionKind("networking.k8s.io", "v1", "NetworkPolicy")
ENDPOINT_SLICE = GroupVersionKind("discovery.k8s.io", "v1", "EndpointSlice")

_SHOWN: Final = 3
_CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_FAMILY_TEXT = (
    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(text: Any) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except (ValueError, TypeError):
        return None


def cidr(place: Place) -> list[Cause]:
    """The field is a CIDR."""
    if place.value is None or _network(place.value) is not None:
        return []
    return [invalid(place.field, place.value, _CIDR_TEXT)]


def _policy_port(place: Place) -> list[Cause]:
    field, port, end = place.field, place.value.get("port"), place.value.get("endPort")
    if isinstance(port, str):
        causes = all_invalid(f"{field}.port", port, port_name_errors(port))
        if end is not None:
            text = "may not be specified when `port` is non-numeric"
            causes.append(invalid(f"{field}.endPort", end, text))
        return causes
    if port is None:
        if end is None:
            return []
        text = "may not be specified when `port` is not specified"
        return [invalid(f"{field}.endPort", end, text)]
    causes = all_invalid(f"{field}.port", port, port_number_errors(port))
    if end is not None:
        if end < port:
            text = "must be greater than or equal to `port`"
            causes.append(invalid(f"{field}.endPort", end, text))
        causes += all_invalid(f"{field}.endPort", end, port_number_errors(end))
    return causes


def _peer(place: Place) -> list[Cause]:
    peer = place.value
    given = [n for n in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(n) is not None]
    if not given:
        return [required(place.field, "must specify a peer")]
    if len(given) > 1 and "ipBlock" in given:
        return [forbidden(place.field, "may not specify both ipBlock and another peer")]
    return []


def _block(place: Place) -> list[Cause]:
    if place.value is None:
        return []
    whole = _network(place.value.get("cidr"))
    if not place.value.get("cidr"):
        return [required(f"{place.field}.cidr")]
    if whole is None:
        return [invalid(f"{place.field}.cidr", place.value["cidr"], _CIDR_TEXT)]
    causes: list[Cause] = []
    for index, text in enumerate(place.value.get("except") or ()):
        field, part = f"{place.field}.except[{index}]", _network(text)
        if part is None:
            causes.append(invalid(field, text, _CIDR_TEXT))
        elif part.version != whole.version or part == whole or not _inside(part, whole):
            causes.append(invalid(field, text, "must be a strict subset of `cidr`"))
    return causes


def _inside(part: Network, whole: Network) -> bool:
    return (
        part.prefixlen > whole.prefixlen
        and int(whole.network_address) <= int(part.network_address)
        and int(part.broadcast_address) <= int(whole.broadcast_address)
    )


def _policy_checks() -> Iterable[Check]:
    yield "spec.podSelector", label_selector
    for way, peers in (("ingress", "from"), ("egress", "to")):
        rule = f"spec.{way}[]"
        yield f"{rule}.ports[].protocol", one_of("TCP", "UDP", "SCTP")
        yield f"{rule}.ports[]", _policy_port
        yield f"{rule}.{peers}[]", _peer
        yield f"{rule}.{peers}[].podSelector", label_selector
        yield f"{rule}.{peers}[].namespaceSelector", label_selector
        yield f"{rule}.{peers}[].ipBlock", _block
    yield (
        "spec.policyTypes",
        truly(lambda v: len(v) <= 2, "may not specify more than two policyTypes"),
    )
    yield "spec.policyTypes[]", one_of("Ingress", "Egress")


def _default_policy(obj: Object) -> None:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _ip_name(name: str) -> list[str]:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return [_IP_TEXT]
    return [] if str(address) == name else [f'must be in canonical form ("{address}")']


def _parent(place: Place) -> list[Cause]:
    parent = place.value
    if not isinstance(parent, dict):
        return [required(place.field)]
    return [required(f"{place.field}.{n}") for n in ("resource", "name") if not parent.get(n)]


def _families(place: Place) -> list[Cause]:
    found = place.value or []
    if len(found) > 2:
        return [invalid(place.field, found, "may only hold up to 2 values")]
    read = [network for text in found if (network := _network(text))]
    if len({network.version for network in read}) < len(read):
        return [invalid(place.field, found, _FAMILY_TEXT)]
    return []


def _slice_addresses(obj: Object) -> list[Cause]:
    kind = obj.get("addressType")
    causes: list[Cause] = []
    for place in places(obj, "endpoints[].addresses[]"):
        if kind in ("IPv4", "IPv6"):
            try:
                good = f"IPv{ipaddress.ip_address(place.value).version}" == kind
            except ValueError:
                good = False
            if not good:
                text = f"must be a valid {kind} address"
                causes.append(invalid(place.field, place.value, text))
    return causes


class SliceStrategy(RuleStrategy):
    """Addresses are of the type that the slice says."""

    def validate(self, obj: Object) -> list[Cause]:
        return super().validate(obj) + _slice_addresses(obj)


def _few(found: list[str]) -> str:
    shown, more = ",".join(found[:_SHOWN]), len(found) - _SHOWN
    return (f"{shown} + {more} more..." if more > 0 else shown) or UNSET


def _slice_ports(obj: Object) -> str:
    return _few([str(port.get("port", "*")) for port in obj.get("ports") or ()])


def _slice_endpoints(obj: Object) -> str:
    return _few([place.value for place in places(obj, "endpoints[].addresses[]")])


def _parent_text(obj: Object) -> str:
    parent = at(obj, "spec.parentRef")
    if not parent:
        return "<none>"
    resource = ".".join(filter(None, (parent.get("resource"), parent.get("group"))))
    return "/".join(filter(None, (resource, parent.get("namespace"), parent.get("name"))))


ROWS = (
    Resource(
        NETWORK_POLICY,
        "networkpolicies",
        RuleStrategy(
            defaults={
                "spec.ingress[].ports[].protocol": "TCP",
                "spec.egress[].ports[].protocol": "TCP",
            },
            default=_default_policy,
            checks=tuple(_policy_checks()),
            generation=True,
        ),
        columns(NAME, selector("spec.podSelector", "Pod-Selector", wide=False), AGE),
        short_names=("netpol",),
    ),
    Resource(
        IP_ADDRESS,
        "ipaddresses",
        RuleStrategy(
            name=_ip_name,
            checks=(("spec.parentRef", _parent),),
            fixed={"spec.parentRef": ""},
            generation=True,
        ),
        columns(NAME, cell("ParentRef", _parent_text), AGE),
        namespaced=False,
        short_names=("ip",),
    ),
    Resource(
        SERVICE_CIDR,
        "servicecidrs",
        RuleStrategy(
            checks=(
                ("spec.cidrs", needed("at least one CIDR required"), _families),
                ("spec.cidrs[]", cidr),
            ),
            fixed={"spec.cidrs": ""},
            generation=True,
            status={},
        ),
        columns(NAME, cell("CIDRs", lambda obj: ",".join(at(obj, "spec.cidrs") or ())), AGE),
        namespaced=False,
        subresources=("status",),
    ),
    Resource(
        ENDPOINT_SLICE,
        "endpointslices",
        SliceStrategy(
            defaults={"ports[].name": "", "ports[].protocol": "TCP"},
            checks=(
                ("addressType", needed(), one_of("FQDN", "IPv4", "IPv6")),
                ("endpoints", truly(lambda v: len(v) <= 1000, "must have at most 1000 items")),
                ("endpoints[].addresses", needed("must contain at least 1 address")),
                ("endpoints[].hostname", named(dns1123_label_errors)),
                ("ports", unique("name")),
                *((f"ports[].{path}", *rules) for path, *rules in PORT_CHECKS),
            ),
            fixed={"addressType": ""},
            generation=True,
        ),
        columns(
            NAME,
            cell("AddressType", "addressType"),
            cell("Ports", _slice_ports),
            cell("Endpoints", _slice_endpoints),
            AGE,
        ),
    ),
)
