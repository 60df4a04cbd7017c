"""A Service's Pods as the subsets of its Endpoints object.

Source: Kubernetes API reference, Endpoints v1; upstream's endpoints controller (labels, limits).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from agents.controllers.endpoints.membership import (
    HEADLESS,
    addresses_of,
    families_of,
    hostname_of,
    is_headless,
    ports_of,
    publishes_not_ready,
    reference_to,
)
from kubraft.api.gvk import ENDPOINTS
from kubraft.api.object import Object, annotations_of, is_terminating, labels_of
from kubraft.api.pods import is_pod_ready

# Source: upstream's maxCapacity.
ADDRESSES_MAX = 1000
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"


def endpoints_of(service: Object, pods: Iterable[Object], old: Object | None) -> Object:
    """The Endpoints of `service`; what others wrote into the metadata of `old` stays."""
    subsets, truncated = _subsets(service, pods)
    metadata: Object = dict(old["metadata"]) if old else {
        "name": service["metadata"]["name"],
        "namespace": service["metadata"]["namespace"],
    }  # fmt: skip
    labels = {k: v for k, v in labels_of(service).items() if k != HEADLESS}
    labels |= {MANAGED_BY: MANAGER, SKIP_MIRROR: "true"}
    if is_headless(service):
        labels[HEADLESS] = ""
    metadata["labels"] = labels
    annotations = dict(annotations_of(old)) if old else {}
    annotations.pop(OVER_CAPACITY, None)
    if truncated:
        annotations[OVER_CAPACITY] = "truncated"
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    made: Object = {
        "apiVersion": ENDPOINTS.api_version,
        "kind": ENDPOINTS.kind,
        "metadata": metadata,
    }
    if subsets:
        made["subsets"] = subsets
    return made


def is_same(old: Object, new: Object) -> bool:
    """Whether nothing is to be written."""
    return (
        labels_of(old) == labels_of(new)
        and annotations_of(old) == annotations_of(new)
        and (old.get("subsets") or []) == (new.get("subsets") or [])
    )


def _subsets(service: Object, pods: Iterable[Object]) -> tuple[list[Object], bool]:
    """Addresses with the same ports together, each list by address; and whether some are left out.

    Ready addresses go before those that are not.
    """
    family = families_of(service)[0]
    groups: dict[str, dict[str, list[Object]]] = {}
    has_ports = bool(service["spec"].get("ports"))
    members = [
        (_is_ready(service, pod), address, pod)
        for pod in pods
        for address in addresses_of(pod, family)[:1]
        if publishes_not_ready(service) or not is_terminating(pod)
    ]
    members.sort(key=lambda member: (not member[0], member[1]))
    for ready, address, pod in members[:ADDRESSES_MAX]:
        ports = ports_of(service, pod)
        if not ports and has_ports:
            continue
        part = "addresses" if ready else "notReadyAddresses"
        group = groups.setdefault(json.dumps(ports, sort_keys=True), {})
        group.setdefault(part, []).append(_address(service, pod, address))
    subsets = [_subset(ports, groups[ports]) for ports in sorted(groups)]
    return subsets, len(members) > ADDRESSES_MAX


def _subset(ports: str, parts: dict[str, list[Object]]) -> Object:
    subset: dict[str, Any] = {part: parts[part] for part in sorted(parts)}
    if known := [{k: v for k, v in port.items() if k != "name" or v} for port in json.loads(ports)]:
        subset["ports"] = known
    return subset


def _is_ready(service: Object, pod: Object) -> bool:
    return publishes_not_ready(service) or is_pod_ready(pod)


def _address(service: Object, pod: Object, address: str) -> Object:
    entry: Object = {"ip": address, "targetRef": reference_to(pod)}
    if node := pod["spec"].get("nodeName"):
        entry["nodeName"] = node
    if name := hostname_of(service, pod):
        entry["hostname"] = name
    return entry
