"""Where a node's agent listens, as its Node says."""

from __future__ import annotations

from typing import Any, Final

from kubraft.api.object import Object
from kubraft.streaming.dialing import Endpoint

# Source: kube-apiserver, --kubelet-port.
_PORT_DEFAULT: Final = 10250
# Names are asked for last: a node of a cluster on one machine has none that resolves.
_TYPES: Final = ("InternalIP", "ExternalIP", "InternalDNS", "Hostname", "ExternalDNS")


def node_endpoint(node: Object) -> Endpoint | None:
    """The endpoint of a Node's agent; None where it has not said an address yet."""
    status: dict[str, Any] = node.get("status") or {}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    for type_ in _TYPES:
        for address in status.get("addresses") or ():
            if address.get("type") == type_ and address.get("address"):
                return Endpoint(str(address["address"]), int(port or _PORT_DEFAULT))
    return None
