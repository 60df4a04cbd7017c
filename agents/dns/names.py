"""Names of the cluster's zone, taken apart. Pure.

A name is a tuple of labels in lower case, without the root's empty one. Labels come from strangers
and may hold any byte, dots too; so names are compared label by label and never as text.

Source: Kubernetes DNS-based service discovery 1.1.0; CoreDNS, plugin kubernetes (which names mean
what where the specification leaves it open); RFC 1035 section 3.5, RFC 3596 section 2.5 (reverse).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal

Labels = tuple[str, ...]

_V4: Final = ("in-addr", "arpa")
_V6: Final = ("ip6", "arpa")


@dataclass(frozen=True, slots=True)
class ServiceName:
    """`[endpoint.]service.namespace.svc` or `_port._protocol.service.namespace.svc`, or less.

    What the name lacks is empty: without a service it is a namespace's, without a namespace "svc".
    """

    namespace: str = ""
    service: str = ""
    endpoint: str = ""
    port: str = ""
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class PodName:
    """`1-2-3-4.namespace.pod`, or less."""

    namespace: str = ""
    pod: str = ""


def labels_of_name(text: str) -> Labels:
    """Text like "Cluster.Local." as labels."""
    return tuple(label for label in text.lower().split(".") if label)


def below(name: Labels, zone: Labels) -> Labels | None:
    """The labels of `name` that are below `zone`; None where it is not in that zone."""
    if len(name) < len(zone) or name[len(name) - len(zone) :] != zone:
        return None
    return name[: len(name) - len(zone)]


def parse(relative: Labels) -> ServiceName | PodName | None:
    """What a name below the zone can mean; None where it can mean nothing."""
    if not relative or relative[-1] not in ("svc", "pod"):
        return None
    *front, kind = relative
    if len(front) > 4:
        return None
    namespace = front.pop() if front else ""
    name = front.pop() if front else ""
    if kind == "pod":
        return PodName(namespace, name) if not front else None
    match front:
        case []:
            return ServiceName(namespace, name)
        case [endpoint]:
            return ServiceName(namespace, name, endpoint=endpoint)
        case _:
            port, protocol = (each.removeprefix("_") for each in front)
            return ServiceName(namespace, name, port=port, protocol=protocol)


def address_of_reverse(name: Labels) -> str | None:
    """The address that a whole name below in-addr.arpa or ip6.arpa stands for; None for others."""
    parts = below(name, _V4)
    if parts is not None:
        return _address(".".join(reversed(parts)), 4) if len(parts) == 4 else None
    parts = below(name, _V6)
    if parts is None or len(parts) != 32 or any(len(part) != 1 for part in parts):
        return None
    digits = "".join(reversed(parts))
    return _address(":".join(digits[at : at + 4] for at in range(0, 32, 4)), 6)


def address_of_pod(name: str) -> str | None:
    """The address in the name of a Pod: "10-1-2-3", or "2001-db8--1"; None where there is none."""
    if name.count("-") == 3 and "--" not in name:
        return _address(name.replace("-", "."), 4)
    return _address(name.replace("-", ":"), 6)


def endpoint_name(address: str) -> str:
    """The label of an endpoint that has no name of its own."""
    label = address.replace(".", "-").replace(":", "-")
    return f"{label}0" if label.endswith("-") else label


def _address(text: str, version: Literal[4, 6]) -> str | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(found) if found.version == version and "%" not in text else None
