"""Which addresses a user may make the server connect to. Pure.

Nobody may reach what listens on this machine, or on its link, through the API server. The one
exception: Pods of the `process` runtime live on loopback addresses, within their node's range.

Source: upstream's pod strategy (IsGlobalUnicast) and IsProxyableHostname.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from kubraft.api.object import Object

_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")
# Everything else on a machine listens here: no node's range may claim it, nor very much at once.
_RESERVED: Final = ipaddress.ip_network("127.0.0.0/16")
_PREFIX_MIN: Final = 16


def is_global_unicast(text: str) -> bool:
    """As Go's IsGlobalUnicast: private addresses are, loopback and link-local ones are not."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or str(address) == "255.255.255.255"
    )


def is_reachable(address: str, node: Object | None) -> bool:
    """Whether a Pod's address may be connected to; `node` is the Pod's."""
    if is_global_unicast(address):
        return True
    spec: dict[str, Any] = (node or {}).get("spec") or {}
    ranges = spec.get("podCIDRs") or [spec.get("podCIDR")]
    return any(_is_within(address, str(each)) for each in ranges if each)


def _is_within(address: str, cidr: str) -> bool:
    try:
        found, network = ipaddress.ip_address(address), ipaddress.ip_network(cidr)
    except ValueError:
        return False
    return (
        isinstance(network, ipaddress.IPv4Network)
        and found in network
        and network.network_address in _LOOPBACK
        and network.prefixlen >= _PREFIX_MIN
        and not network.overlaps(_RESERVED)
    )


def pod_address(pod: Object) -> str:
    """The first address of a Pod, or ""."""
    status = pod.get("status") or {}
    for each in status.get("podIPs") or ():
        return str(each.get("ip") or "")
    return str(status.get("podIP") or "")
