"""Rules on what only some types of Services have, and on families and policies.

Source: Kubernetes API reference, core/v1 ServiceSpec; texts of upstream's validation.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from apiserver.registry.causes import all_invalid, duplicate, forbidden, invalid, unsupported
from kubraft.api.errors import Cause
from kubraft.api.names import ip_errors, qualified_name_errors

Json = dict[str, Any]

AFFINITY_S_MAX = 86_400
_POLICIES = ("Cluster", "Local")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_OF_BALANCERS = (
    "allocateLoadBalancerNodePorts",
    "loadBalancerClass",
    "loadBalancerSourceRanges",
)
_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def service_causes(spec: Json) -> list[Cause]:
    """What is wrong with the spec of a Service beyond its ports and addresses."""
    return [
        *_affinity(spec),
        *_balancer(spec),
        *_policies(spec),
        *_addresses(spec),
        *_families(spec),
        *_ports(spec),
    ]


def _affinity(spec: Json) -> Iterator[Cause]:
    config = spec.get("sessionAffinityConfig")
    if config is None:
        return
    if spec.get("sessionAffinity") != "ClientIP":
        rule = "must not be set when session affinity is None"
        yield forbidden("spec.sessionAffinityConfig", rule)
        return
    seconds = (config.get("clientIP") or {}).get("timeoutSeconds")
    if seconds is not None and not 0 < seconds <= AFFINITY_S_MAX:
        field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        yield invalid(field, seconds, f"must be greater than 0 and less than {AFFINITY_S_MAX}")


def _balancer(spec: Json) -> Iterator[Cause]:
    balanced = spec.get("type") == "LoadBalancer"
    for name in _OF_BALANCERS:
        if spec.get(name) is not None and spec.get(name) != [] and not balanced:
            yield forbidden(f"spec.{name}", "may only be used when `type` is 'LoadBalancer'")
    if balanced and (kind := spec.get("loadBalancerClass")):
        yield from all_invalid("spec.loadBalancerClass", kind, qualified_name_errors(kind))
    for index, text in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        try:
            ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            yield invalid(f"spec.loadBalancerSourceRanges[{index}]", text, _CIDR)
    check = spec.get("healthCheckNodePort")
    if check and not (balanced and spec.get("externalTrafficPolicy") == "Local"):
        rule = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is "
        yield invalid("spec.healthCheckNodePort", check, f"{rule}'Local'")


def _policies(spec: Json) -> Iterator[Cause]:
    outside = spec.get("externalTrafficPolicy")
    reachable = spec.get("type") in ("LoadBalancer", "NodePort") or bool(spec.get("externalIPs"))
    if outside and not reachable:
        rule = "may only be set for externally-accessible services"
        yield invalid("spec.externalTrafficPolicy", outside, rule)
    elif outside and outside not in _POLICIES:
        yield unsupported("spec.externalTrafficPolicy", outside, _POLICIES)
    for name, choices in (
        ("internalTrafficPolicy", _POLICIES),
        ("trafficDistribution", _DISTRIBUTIONS),
        ("ipFamilyPolicy", _FAMILY_POLICIES),
    ):
        if spec.get(name) and spec[name] not in choices:
            yield unsupported(f"spec.{name}", spec[name], choices)


def _addresses(spec: Json) -> Iterator[Cause]:
    for index, address in enumerate(spec.get("externalIPs") or ()):
        field = f"spec.externalIPs[{index}]"
        if wrong := ip_errors(address):
            yield from all_invalid(field, address, wrong)
            continue
        read = ipaddress.ip_address(address)
        for holds, rule in (
            (read.is_unspecified, "may not be unspecified (0.0.0.0 or ::)"),
            (read.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            (
                read.is_link_local,
                "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            ),
        ):
            if holds:
                yield invalid(field, address, rule)


def _families(spec: Json) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        field = f"spec.ipFamilies[{index}]"
        if family not in _FAMILIES:
            yield unsupported(field, family, _FAMILIES)
        elif family in seen:
            yield duplicate(field, family)
        seen.add(family)


def _ports(spec: Json) -> Iterator[Cause]:
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(spec.get("ports") or ()):
        field, own = f"spec.ports[{index}]", port.get("nodePort", 0)
        key = port.get("protocol", "TCP"), own
        if own and key in seen:
            yield duplicate(f"{field}.nodePort", own)
        seen.add(key)
        if name := port.get("appProtocol"):
            yield from all_invalid(f"{field}.appProtocol", name, qualified_name_errors(name))
