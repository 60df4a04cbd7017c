"""What the hollow nodes of one process look like: names, addresses, capacity. Pure."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from agents.node.hollow.runtime import NAME, VERSION
from agents.node.node_object import KUBELET_VERSION, Machine, Usage
from kubraft.api.hollow import LABEL
from kubraft.api.quantity import parse_quantity

# Pods' addresses: a /24 a node. Nobody listens there, and nothing leads there.
_NETWORK: Final = IPv4Network("10.128.0.0/9")
NODES_MAX: Final = 5_000
USAGE: Final = Usage(1 << 40, 1.0, 1.0)
TAINT: Final = {"key": LABEL, "value": "true", "effect": "NoSchedule"}


@dataclass(frozen=True, slots=True)
class Capacity:
    """What every hollow node has for Pods; quantities as Kubernetes writes them."""

    cpu: int
    memory: str
    pods: int


def pod_network(index: int) -> IPv4Network:
    """The addresses of a node's Pods."""
    first = int(_NETWORK.network_address) + index * 256
    return IPv4Network((first, 24))


def machines(
    prefix: str, count: int, capacity: Capacity, *, host_ip: str, port: int, zones: int, taint: bool
) -> Iterator[Machine]:
    """The nodes, in the order of their numbers."""
    for index in range(count):
        labels = {LABEL: "true", "type": NAME}
        if zones:
            labels["topology.kubernetes.io/zone"] = f"zone-{index % zones}"
        yield Machine(
            name=f"{prefix}{index}",
            cpus=capacity.cpu,
            memory_bytes=parse_quantity(capacity.memory).value(),
            disk_bytes=1 << 40,
            pods_max=capacity.pods,
            port=port,
            host_ip=host_ip,
            pod_cidr=str(pod_network(index)),
            architecture="amd64",
            info={
                "architecture": "amd64",
                "bootID": NAME,
                "containerRuntimeVersion": f"{NAME}://{VERSION}",
                "kernelVersion": platform.release(),
                "kubeProxyVersion": "",
                "kubeletVersion": KUBELET_VERSION,
                "machineID": f"{prefix}{index}",
                "operatingSystem": "linux",
                "osImage": NAME,
                "systemUUID": f"{prefix}{index}",
            },
            labels=labels,
            taints=(TAINT,) if taint else (),
        )
