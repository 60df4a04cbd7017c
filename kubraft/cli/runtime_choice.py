"""What `kubraft up --runtime` asks for, and whether this machine can give it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace

from kubraft.cluster_config import ClusterConfig, ClusterConfigError, Counts
from kubraft.containerd_programs import MissingProgramsError, containerd_programs
from kubraft.node_runtime import NodeRuntime
from kubraft.supervisor.runtime_specs import bridge


def with_runtime(counts: Counts, runtime: str | None, endpoint: str) -> Counts:
    """`counts` with the runtime that the command line names.

    Raises:
        ClusterConfigError: there is no such runtime, or the endpoint is not one.
    """
    if endpoint:
        if runtime:
            raise ClusterConfigError(
                "--runtime and --container-runtime-endpoint exclude each other"
            )
        if not endpoint.startswith("unix:///"):
            raise ClusterConfigError(f"{endpoint}: an endpoint begins with unix:///")
        return replace(counts, runtime=NodeRuntime.FOREIGN, runtime_endpoint=endpoint)
    if runtime is None:
        return counts
    if runtime not in (NodeRuntime.PROCESS, NodeRuntime.CONTAINERD):
        raise ClusterConfigError(f"RUNTIME={runtime}: must be process or containerd")
    return replace(counts, runtime=NodeRuntime(runtime))


def check_runtime(cluster: ClusterConfig) -> None:
    """Refuse a runtime that cannot run here.

    Raises:
        ClusterConfigError: root, programs or free addresses are missing; the message says which.
    """
    if cluster.runtime is not NodeRuntime.CONTAINERD:
        return
    try:
        containerd_programs()
    except MissingProgramsError as error:
        raise ClusterConfigError(str(error)) from error
    own = {bridge(cluster, node) for node in cluster.nodes}
    networks = [cluster.service_network, *(node.pod_cidr for node in cluster.nodes)]
    for interface, address in _addresses():
        for network in networks:
            if interface not in own and address in ipaddress.ip_network(network):
                raise ClusterConfigError(
                    f"{interface} has {address}, which is of this cluster's network {network}"
                )


def _addresses() -> Iterator[tuple[str, ipaddress.IPv4Address]]:
    import psutil  # noqa: PLC0415 - only where there is a bridge to make

    for interface, addresses in psutil.net_if_addrs().items():
        for each in addresses:
            if each.family.name == "AF_INET":
                yield interface, ipaddress.IPv4Address(each.address)
