"""Ranges of addresses, of flags and of Nodes: `--cluster-cidr=10.244.0.0/16,fd00::/48`."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from kubraft.api.object import Object

Network = IPv4Network | IPv6Network

_RANGES_MAX: Final = 2


def cluster_networks(text: str) -> tuple[Network, ...]:
    """The ranges of Pods' addresses: one, or one of each family; none where `text` is empty.

    Bits behind the prefix are dropped, as upstream does.

    Raises:
        ValueError: one is no range, or they are too many, or two of one family.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = tuple(ip_network(part, strict=False) for part in parts)
    except ValueError as error:
        raise ValueError(f"--cluster-cidr: {error}") from error
    if len(found) > _RANGES_MAX:
        raise ValueError(f"--cluster-cidr: {len(found)} ranges; there may be {_RANGES_MAX}")
    if len({each.version for each in found}) != len(found):
        raise ValueError("--cluster-cidr: two ranges must be of different families")
    return found


def is_within(network: Network, ranges: Sequence[Network]) -> bool:
    """Whether all of `network` is in one of the ranges."""
    return any(
        network.version == each.version and network.subnet_of(each)  # type: ignore[arg-type]
        for each in ranges
    )


def find_network(text: str) -> Network | None:
    """The range that `text` writes; None where it is none, or has bits behind its prefix."""
    try:
        return ip_network(text)
    except ValueError:
        return None


def pod_cidrs(node: Object) -> list[str]:
    """A Node's `spec.podCIDRs`, of older ones `spec.podCIDR`; empty where it has none."""
    spec = node.get("spec") or {}
    return spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
