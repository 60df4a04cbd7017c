"""This machine as a Node object. Pure: what was measured comes in as values.

Source: Kubernetes API reference, Node; documentation, "Node Status", "Reserve Compute Resources".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agents.node.eviction import Reading
from kubraft.api.conditions import with_condition
from kubraft.api.gvk import LEASE, NODE
from kubraft.api.object import Object
from kubraft.api.quantity import Quantity, parse_quantity
from kubraft.api.time import format_micro_time, format_time

KUBELET_VERSION = "v1.37.0"
# Upstream's hard eviction thresholds.
_MEMORY_AVAILABLE_BYTES_MIN = 100 * 1024 * 1024
_DISK_AVAILABLE_PART_MIN = 0.10
_PIDS_AVAILABLE_PART_MIN = 0.05


@dataclass(frozen=True, slots=True)
class Machine:
    """What does not change while this agent runs."""

    name: str
    cpus: int
    memory_bytes: int
    disk_bytes: int
    pods_max: int
    port: int  # of this agent's own service
    host_ip: str
    pod_cidr: str
    architecture: str
    info: Mapping[str, str]  # status.nodeInfo
    labels: Mapping[str, str] = field(default_factory=dict)  # besides those that every node has
    taints: Sequence[Mapping[str, str]] = ()  # that it registers with


@dataclass(frozen=True, slots=True)
class Usage:
    """What does."""

    memory_available_bytes: int
    disk_available_part: float  # 0..1
    pids_available_part: float  # 0..1
    readings: Mapping[str, Reading] = field(default_factory=dict)  # by eviction signal
    pressure: frozenset[str] | None = None  # the conditions of eviction; None: by the parts above
    runtime_error: str = ""  # why the runtime cannot run Pods; empty where it can


def allocatable(machine: Machine) -> dict[str, Quantity]:
    """What Pods may ask for."""
    return {name: parse_quantity(text) for name, text in _resources(machine).items()}


def _resources(machine: Machine) -> dict[str, str]:
    return {
        "cpu": str(machine.cpus),
        "ephemeral-storage": f"{machine.disk_bytes // 1024}Ki",
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "pods": str(machine.pods_max),
    }


def labels(machine: Machine) -> dict[str, str]:
    """The labels that every node has, and this one's own."""
    return {
        **machine.labels,
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/hostname": machine.name,
        "kubernetes.io/os": "linux",
    }


def node_object(machine: Machine, usage: Usage, now: datetime) -> Object:
    """The Node to register."""
    spec: dict[str, Any] = {}
    if machine.pod_cidr:
        spec |= {"podCIDR": machine.pod_cidr, "podCIDRs": [machine.pod_cidr]}
    if machine.taints:
        spec["taints"] = [dict(taint) for taint in machine.taints]
    return {
        "apiVersion": NODE.api_version,
        "kind": NODE.kind,
        "metadata": {"name": machine.name, "labels": labels(machine)},
        "spec": spec,
        "status": node_status({}, machine, usage, now),
    }


def node_status(
    old: Mapping[str, Any], machine: Machine, usage: Usage, now: datetime
) -> dict[str, Any]:
    """The Node's status; what others wrote into it stays."""
    return {
        **old,
        "capacity": _resources(machine),
        "allocatable": _resources(machine),
        "addresses": _addresses(old, machine),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": machine.port}},
        "nodeInfo": dict(machine.info),
        "conditions": _conditions(old, usage, now),
    }


def _addresses(old: Mapping[str, Any], machine: Machine) -> list[dict[str, str]]:
    """The agent's own; a cloud's list, which has more, is kept while the agent's own is in it."""
    own = {"type": "InternalIP", "address": machine.host_ip}
    found: list[dict[str, str]] = old.get("addresses") or []
    return found if own in found else [own, {"type": "Hostname", "address": machine.name}]


def _conditions(old: Mapping[str, Any], usage: Usage, now: datetime) -> list[dict[str, Any]]:
    memory = usage.memory_available_bytes < _MEMORY_AVAILABLE_BYTES_MIN
    disk = usage.disk_available_part < _DISK_AVAILABLE_PART_MIN
    pids = usage.pids_available_part < _PIDS_AVAILABLE_PART_MIN
    if usage.pressure is not None:
        names = ("MemoryPressure", "DiskPressure", "PIDPressure")
        memory, disk, pids = (name in usage.pressure for name in names)
    conditions = list(old.get("conditions") or ())
    for type_, bad, good_reason, good, bad_reason, words in (
        (
            *("MemoryPressure", memory, "KubeletHasSufficientMemory"),
            *("kubelet has sufficient memory available", "KubeletHasInsufficientMemory"),
            "kubelet has insufficient memory available",
        ),
        (
            *("DiskPressure", disk, "KubeletHasNoDiskPressure"),
            *("kubelet has no disk pressure", "KubeletHasDiskPressure"),
            "kubelet has disk pressure",
        ),
        (
            *("PIDPressure", pids, "KubeletHasSufficientPID"),
            *("kubelet has sufficient PID available", "KubeletHasInsufficientPID"),
            "kubelet has insufficient PID available",
        ),
    ):
        answer = ("True", bad_reason, words) if bad else ("False", good_reason, good)
        conditions = _with(conditions, type_, answer, now)
    if usage.runtime_error:
        answer = ("False", "KubeletNotReady", usage.runtime_error)
    else:
        answer = ("True", "KubeletReady", "kubelet is posting ready status")
    return _with(conditions, "Ready", answer, now)


def _with(
    conditions: list[dict[str, Any]], type_: str, answer: tuple[str, str, str], now: datetime
) -> list[dict[str, Any]]:
    status, reason, message = answer
    condition = {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": format_time(now),
    }
    return with_condition(conditions, condition, now)


def without_heartbeat(status: Mapping[str, Any]) -> dict[str, Any]:
    """A status less what differs at every look: for telling whether anything changed."""
    conditions = [
        {key: value for key, value in condition.items() if key != "lastHeartbeatTime"}
        for condition in status.get("conditions") or ()
    ]
    return {**status, "conditions": conditions}


def lease_object(name: str, node_uid: str, duration_s: int, now: datetime) -> Object:
    """The Lease whose renewal says that this node lives."""
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": {
            "name": name,
            "namespace": "kube-node-lease",
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}
            ],
        },
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": duration_s,
            "renewTime": format_micro_time(now),
        },
    }
