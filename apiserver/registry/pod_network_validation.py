"""Rules on a Pod's names and addresses: resolver, hosts file, ports of its node.

Source: Kubernetes API reference, core/v1 PodDNSConfig, HostAlias; upstream's texts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from apiserver.registry.causes import all_invalid, duplicate, invalid, required
from kubraft.api.errors import Cause
from kubraft.api.names import dns1123_subdomain_errors

Json = dict[str, Any]

NAMESERVERS_MAX = 3
SEARCHES_MAX = 32
SEARCH_CHARACTERS_MAX = 2048
_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def network_causes(spec: Json, field: str) -> list[Cause]:
    """What is wrong with a Pod's network settings; `field` is the path of its spec."""
    return [*_dns(spec, field), *_aliases(spec, field), *_host_ports(spec, field)]


def _dns(spec: Json, field: str) -> Iterator[Cause]:
    config, path = spec.get("dnsConfig"), f"{field}.dnsConfig"
    if spec.get("dnsPolicy") == "None":
        if config is None:
            yield required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
        elif not config.get("nameservers"):
            rule = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield required(f"{path}.nameservers", rule)
    config = config or {}
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > NAMESERVERS_MAX:
        rule = f"must not have more than {NAMESERVERS_MAX} nameservers"
        yield invalid(f"{path}.nameservers", servers, rule)
    for index, server in enumerate(servers):
        yield from _ip(server, f"{path}.nameservers[{index}]")
    if len(searches) > SEARCHES_MAX:
        rule = f"must not have more than {SEARCHES_MAX} search paths"
        yield invalid(f"{path}.searches", searches, rule)
    if len(" ".join(searches)) > SEARCH_CHARACTERS_MAX:
        rule = (
            f"must not have more than {SEARCH_CHARACTERS_MAX} characters (including spaces) in "
            "the search list"
        )
        yield invalid(f"{path}.searches", searches, rule)
    for index, search in enumerate(searches):
        name = search.removesuffix(".") or search
        if name != ".":
            at = f"{path}.searches[{index}]"
            yield from all_invalid(at, name, dns1123_subdomain_errors(name.replace("_", "-")))
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            yield required(f"{path}.options[{index}]", "must not be empty")


def _aliases(spec: Json, field: str) -> Iterator[Cause]:
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        path = f"{field}.hostAliases[{index}]"
        yield from _ip(alias.get("ip", ""), f"{path}.ip")
        for number, name in enumerate(alias.get("hostnames") or ()):
            yield from all_invalid(
                f"{path}.hostnames[{number}]", name, dns1123_subdomain_errors(name)
            )


def _host_ports(spec: Json, field: str) -> Iterator[Cause]:
    """Two containers of a Pod cannot have the same port of the node."""
    seen: set[tuple[str, str, int]] = set()
    for number, container in enumerate(spec.get("containers") or ()):
        for index, port in enumerate(container.get("ports") or ()):
            path = f"{field}.containers[{number}].ports[{index}]"
            own = port.get("hostPort", 0)
            if spec.get("hostNetwork") and own != port.get("containerPort"):
                rule = "must match `hostPort` when `hostNetwork` is true"
                yield invalid(f"{path}.containerPort", port.get("containerPort"), rule)
            key = (port.get("protocol", "TCP"), port.get("hostIP", ""), own)
            if own and key in seen:
                yield duplicate(f"{path}.hostPort", f"{key[0]}/{key[1]}/{own}")
            if address := port.get("hostIP"):
                yield from _ip(address, f"{path}.hostIP")
            seen.add(key)


def _ip(address: str, field: str) -> list[Cause]:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return [invalid(field, address, _IP)]
    return []
