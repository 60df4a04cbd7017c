"""Which container runtime a cluster's nodes have, and what that means for its networks."""

from __future__ import annotations

from enum import StrEnum


class NodeRuntime(StrEnum):
    """The same for all nodes of a cluster, for its life."""

    PROCESS = "process"  # embedded: processes of this machine, each Pod on a loopback address
    CONTAINERD = "containerd"  # a containerd of its own for each node, Pods on a bridge
    FOREIGN = "foreign"  # a CRI socket that somebody else serves


def network_of(runtime: NodeRuntime, loopback: str) -> str:
    """A range of loopback addresses, or where Pods cannot reach loopback its twin in 10.0.0.0/8."""
    if runtime is NodeRuntime.CONTAINERD:
        return "10" + loopback.removeprefix("127")
    return loopback
