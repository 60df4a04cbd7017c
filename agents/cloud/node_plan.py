"""What of a Node is the cloud's to say. Pure: Nodes and what the provider knows in, changes out.

Source: Kubernetes documentation, "Cloud Controller Manager Administration"; k8s.io/cloud-provider,
controllers node and nodelifecycle (labels, taints, which Nodes are looked at).
"""

from __future__ import annotations

from typing import Any, Final

from agents.cloud.provider import InstanceMetadata
from kubraft.api.conditions import is_true
from kubraft.api.object import Object, labels_of

UNINITIALIZED: Final = "node.cloudprovider.kubernetes.io/uninitialized"
SHUTDOWN: Final = "node.cloudprovider.kubernetes.io/shutdown"
_EXCLUDED: Final = "node.kubernetes.io/exclude-from-external-load-balancers"
_TO_BE_DELETED: Final = "ToBeDeletedByClusterAutoscaler"


def needs_metadata(node: Object) -> bool:
    """Whether the provider has not yet said what the Node's machine is."""
    return has_taint(node, UNINITIALIZED) or not provider_id(node)


def provider_id(node: Object) -> str:
    """`spec.providerID`, empty where absent."""
    return str((node.get("spec") or {}).get("providerID") or "")


def has_taint(node: Object, key: str) -> bool:
    return any(taint.get("key") == key for taint in _taints(node))


def is_ready(node: Object) -> bool:
    return is_true(node, "Ready")


def initialized(node: Object, found: InstanceMetadata) -> Object:
    """The Node with what the provider knows, and without the taint that waits for it."""
    labels = {
        **labels_of(node),
        **_named(found.instance_type, "node.kubernetes.io/instance-type"),
        **_named(found.instance_type, "beta.kubernetes.io/instance-type"),
        **_named(found.zone, "topology.kubernetes.io/zone"),
        **_named(found.zone, "failure-domain.beta.kubernetes.io/zone"),
        **_named(found.region, "topology.kubernetes.io/region"),
        **_named(found.region, "failure-domain.beta.kubernetes.io/region"),
        **found.labels,
    }
    spec = {**(node.get("spec") or {})}
    spec.setdefault("providerID", found.provider_id)
    made = _with_taints({**node, "spec": spec}, _without(node, UNINITIALIZED))
    return {**made, "metadata": {**node["metadata"], "labels": labels}}


def with_addresses(node: Object, found: InstanceMetadata) -> list[dict[str, str]] | None:
    """The addresses of the Node's status; None where they are so already, or nobody knows any."""
    wanted = [{"type": type_, "address": address} for type_, address in found.addresses]
    had = (node.get("status") or {}).get("addresses") or []
    return None if not wanted or _in_order(wanted) == _in_order(had) else wanted


def _in_order(addresses: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Whoever writes them may choose another order."""
    return sorted((each.get("type", ""), each.get("address", "")) for each in addresses)


def shut_down(node: Object) -> Object:
    """The Node with the taint of machines that are turned off."""
    taint = {"key": SHUTDOWN, "effect": "NoSchedule"}
    return _with_taints(node, [*_without(node, SHUTDOWN), taint])


def turned_on(node: Object) -> Object:
    """The Node without that taint."""
    return _with_taints(node, _without(node, SHUTDOWN))


def takes_traffic(node: Object) -> bool:
    """Whether load balancers lead to the Node."""
    if node["metadata"].get("deletionTimestamp") or _EXCLUDED in labels_of(node):
        return False
    return is_ready(node) and not has_taint(node, _TO_BE_DELETED)


def _taints(node: Object) -> list[dict[str, Any]]:
    return (node.get("spec") or {}).get("taints") or []


def _without(node: Object, key: str) -> list[dict[str, Any]]:
    return [taint for taint in _taints(node) if taint.get("key") != key]


def _with_taints(node: Object, taints: list[dict[str, Any]]) -> Object:
    spec = {**(node.get("spec") or {}), "taints": taints}
    if not taints:
        del spec["taints"]
    return {**node, "spec": spec}


def _named(value: str, label: str) -> dict[str, str]:
    return {label: value} if value else {}
