"""The IPAddress that says which Service an address of the range belongs to. Pure.

It is written and deleted with its Service, in one transaction, beside the claim that holds the
address: who deletes an IPAddress by hand does not free what it stands for.

Source: upstream's allocator of cluster IPs (labels, parentRef).
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Final

from kubraft.api.gvk import IP_ADDRESS
from kubraft.api.object import Object

FOLDER: Final = "/registry/ipaddresses/"
_FAMILY: Final = "ipaddress.kubernetes.io/ip-family"
_MANAGED_BY: Final = "ipaddress.kubernetes.io/managed-by"


def key_of(address: str) -> str:
    """Where the IPAddress lies in the store."""
    return FOLDER + address


def ip_address(service: Object, address: str) -> Object:
    """The IPAddress of a Service; the same from every server, as both come from the Service."""
    metadata = service["metadata"]
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    labels = {
        _FAMILY: f"IPv{ipaddress.ip_address(address).version}",
        _MANAGED_BY: "ipallocator.k8s.io",
    }
    own = {
        "name": address,
        "uid": _uid(f"{metadata.get('uid', '')}/{address}"),
        "generation": 1,
        "creationTimestamp": metadata.get("creationTimestamp"),
        "labels": labels,
    }
    ref = {"group": "", "resource": "services", "namespace": namespace, "name": name}
    return {
        "apiVersion": IP_ADDRESS.api_version,
        "kind": IP_ADDRESS.kind,
        "metadata": own,
        "spec": {"parentRef": ref},
    }


def _uid(text: str) -> str:
    """In the form of a UUID of version 8: one that is made of something."""
    digits = hashlib.sha256(text.encode()).hexdigest()
    parts = digits[:8], digits[8:12], f"8{digits[13:16]}", f"8{digits[17:20]}", digits[20:32]
    return "-".join(parts)
