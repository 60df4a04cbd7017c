"""The processes that run nodes' containers, by runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kubraft.cluster_config import ClusterConfig, NodeConfig
from kubraft.home import Home
from kubraft.node_runtime import NodeRuntime

CONTAINERD_MODULE: Final = "agents.containerd"
PROCESS_MODULE: Final = "agents.runtime"


def runtime_process(
    home: Home, cluster: ClusterConfig, node: NodeConfig
) -> tuple[str, tuple[str, ...]] | None:
    """Module and arguments of a node's runtime; None where somebody else runs it."""
    name = node.runtime_name
    flags: dict[str, object] = {
        "listen": f"unix://{home.socket(name)}",
        "root-dir": home.data(name).absolute(),
        "pod-cidr": node.pod_cidr,
    }
    match cluster.runtime:
        case NodeRuntime.PROCESS:
            # Containers have no business with keys, tokens, data, nor with other Pods' volumes.
            flags["masked-path"] = home.path.absolute()
            return PROCESS_MODULE, _flags(flags)
        case NodeRuntime.CONTAINERD:
            flags["image-dir"] = home.path.absolute() / "images"
            flags["bridge"] = bridge(cluster, node)
            flags["cgroup-root"] = cgroup_root(cluster, node)
            flags["local-range"] = cluster.service_network
            return CONTAINERD_MODULE, _flags(flags)
        case NodeRuntime.FOREIGN:
            return None


def runtime_endpoint(home: Home, cluster: ClusterConfig, node: NodeConfig) -> str:
    """Where the node's runtime is asked."""
    return cluster.runtime_endpoint or f"unix://{home.socket(node.runtime_name)}"


def bridge(cluster: ClusterConfig, node: NodeConfig) -> str:
    """The interface of a node's Pods: at most 15 bytes, and no other cluster's."""
    return f"kb{cluster.token[:8]}n{node.name.removeprefix('node-')}"


def cgroup_root(cluster: ClusterConfig, node: NodeConfig) -> str:
    """The cgroup of a node's Pods; empty where the runtime makes none."""
    if cluster.runtime is NodeRuntime.PROCESS:
        return ""
    return f"/kubraft-{cluster.token[:8]}-{node.name}"


def has_remains(cluster: ClusterConfig, node: NodeConfig) -> bool:
    """Whether a node that was killed has left something outside the home."""
    if cluster.runtime is not NodeRuntime.CONTAINERD:
        return False
    group = cgroup_root(cluster, node).lstrip("/")
    folders = Path("/sys/fs/cgroup").glob(f"*/{group}")
    bridge_folder = Path("/sys/class/net", bridge(cluster, node))
    return bridge_folder.exists() or Path("/sys/fs/cgroup", group).exists() or any(folders)


def _flags(values: dict[str, object]) -> tuple[str, ...]:
    return tuple(f"--{name}={value}" for name, value in values.items())
