"""Which processes a cluster has, in the order they depend on each other, with their flags."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from kubraft.cluster_config import ClusterConfig, MemberConfig, NodeConfig
from kubraft.home import Home
from kubraft.node_runtime import NodeRuntime
from kubraft.ports import (
    DNS_PORT,
    LOOPBACK,
    PROXY_HEALTH_PORT,
    PROXY_METRICS_PORT,
    REST_PORT,
    may_listen,
)
from kubraft.supervisor.runtime_specs import cgroup_root, runtime_endpoint, runtime_process

SERVICE_ACCOUNT_ISSUER: Final = "https://kubernetes.default.svc.cluster.local"

# The local profile: how long things take to be noticed. docs/node-failure.md explains them.
NODE_FLAGS: Final = (
    "--node-lease-duration=4s",  # renewed every second
    "--eviction-hard=memory.available<100Mi,pid.available<5%",  # a full disk evicts nobody, as kind
)
CONTROLLER_FLAGS: Final = (
    "--node-monitor-period=1s",
    "--node-monitor-grace-period=6s",
    "--node-eviction-rate=1",
    "--pod-eviction-timeout=20s",
    "--local-storage-class=standard",  # as kind names it
)
# There is one, which takes its own Lease back at once when it is started again; each renewal is a
# write.
CLOUD_FLAGS: Final = (
    "--leader-elect-lease-duration=60s",
    "--leader-elect-renew-deadline=40s",
    "--leader-elect-retry-period=10s",
)
DEFAULT_TOLERATION_S: Final = 2
# Members of one machine need no sign of life ten times a second; five in an election's timeout are
# what etcd asks for at least. State is behind a synced log, so it is synced itself less often.
MEMBER_FLAGS: Final = ("--heartbeat-interval=200", "--backend-batch-interval=1s")


class Stage(IntEnum):
    """What must be up before what; started in this order, stopped in reverse."""

    STORE = 0
    APISERVER = 1
    RUNTIME = 2
    AGENT = 3


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process: `python -m module arguments`.

    Attributes:
        name: unique; names its log too.
        machine: the node it is a part of: killing that node kills it too. Empty for the others.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    stage: Stage
    machine: str = ""


def cluster_processes(home: Home, cluster: ClusterConfig) -> list[ProcessSpec]:
    """All processes of `cluster`, by stage."""
    return [
        *(_member(home, cluster, member) for member in cluster.members),
        *(_apiserver(home, cluster, index) for index in range(cluster.apiservers)),
        *_runtimes(home, cluster),
        *(
            _agent(home, cluster, "scheduler", "agents.scheduler", index)
            for index in range(cluster.schedulers)
        ),
        *(
            _agent(home, cluster, "controller-manager", "agents.controllers", index)
            for index in range(cluster.controller_managers)
        ),
        _agent(home, cluster, "proxy", "agents.proxy", 0),
        _metrics_server(home, cluster),
        _name_server(home, cluster),
        _cloud_controller_manager(home, cluster),
        *(_node(home, cluster, node) for node in cluster.nodes),
        *([_hollow(home, cluster)] if cluster.hollow.nodes else []),
    ]


def companions(specs: Iterable[ProcessSpec], name: str) -> list[ProcessSpec]:
    """What is killed or started with `name`: a node's agent takes its whole machine along.

    Empty where no process has that name.
    """
    found = {spec.name: spec for spec in specs}
    if name not in found:
        return []
    rest = [spec for spec in found.values() if spec.machine == name and spec.name != name]
    return sorted([found[name], *rest], key=lambda spec: spec.stage)


def _member(home: Home, cluster: ClusterConfig, member: MemberConfig) -> ProcessSpec:
    pki, name = _absolute(home.pki), member.name
    flags = {
        "name": name,
        "data-dir": _absolute(home.data(name)),
        "listen-client-urls": member.client_url,
        "advertise-client-urls": member.client_url,
        "listen-peer-urls": member.peer_url,
        "initial-advertise-peer-urls": member.peer_url,
        "initial-cluster": cluster.initial_cluster,
        "initial-cluster-state": "new",
        "initial-cluster-token": cluster.token,
        "cert-file": pki / f"{name}-server.crt",
        "key-file": pki / f"{name}-server.key",
        "trusted-ca-file": pki / "store-ca.crt",
        "peer-cert-file": pki / f"{name}-peer.crt",
        "peer-key-file": pki / f"{name}-peer.key",
        "peer-trusted-ca-file": pki / "store-ca.crt",
        # Peers serve, so their certificates name a host; those of the store's clients do not.
        "peer-cert-allowed-hostname": "localhost",
    }
    switches = ("--client-cert-auth", "--peer-client-cert-auth")
    return ProcessSpec(name, "store", (*_flags(flags), *switches, *MEMBER_FLAGS), Stage.STORE)


def _apiserver(home: Home, cluster: ClusterConfig, index: int) -> ProcessSpec:
    pki, name = _absolute(home.pki), f"apiserver-{index}"
    flags = {
        "identity": name,
        "bind-address": LOOPBACK,
        "secure-port": cluster.rest_port,
        "grpc-port": cluster.grpc_port,
        "grpc-mtls-port": cluster.grpc_mtls_port,
        "etcd-servers": cluster.endpoints,
        "etcd-cafile": pki / "ca.crt",
        "etcd-certfile": pki / "store-client.crt",
        "etcd-keyfile": pki / "store-client.key",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "client-ca-file": pki / "ca.crt",
        "token-auth-file": _absolute(home.token_auth_file),
        "service-account-key-file": pki / "sa.pub",
        "service-account-signing-key-file": pki / "sa.key",
        "service-account-issuer": SERVICE_ACCOUNT_ISSUER,
        "service-cluster-ip-range": cluster.service_network,
        "encryption-provider-config": _absolute(home.encryption_config),
        "encryption-provider-config-automatic-reload": "true",
        "kubelet-certificate-authority": pki / "ca.crt",
        "kubelet-client-certificate": pki / "apiserver-kubelet-client.crt",
        "kubelet-client-key": pki / "apiserver-kubelet-client.key",
        "proxy-client-cert-file": pki / "front-proxy-client.crt",
        "proxy-client-key-file": pki / "front-proxy-client.key",
        "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-uid-headers": "X-Remote-Uid",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "default-toleration-seconds": DEFAULT_TOLERATION_S,
    }
    return ProcessSpec(name, "apiserver", _flags(flags), Stage.APISERVER)


def _agent(home: Home, cluster: ClusterConfig, role: str, module: str, index: int) -> ProcessSpec:
    extra: tuple[str, ...] = ()
    if role == "controller-manager":
        ca = f"{_absolute(home.pki)}/ca"
        signing = (f"--cluster-signing-cert-file={ca}.crt", f"--cluster-signing-key-file={ca}.key")
        accounts = f"--service-account-private-key-file={_absolute(home.pki)}/sa.key"
        extra = (*CONTROLLER_FLAGS, f"--root-ca-file={ca}.crt", accounts, *signing)
    if role == "scheduler" and home.scheduler_config.exists():
        extra = (f"--config={_absolute(home.scheduler_config)}",)
    if role == "proxy":
        # The API server is on loopback, where no rule can lead packets of Pods behind a bridge.
        extra = ("--proxy-mode=userspace", *_proxy_ports(cluster))
    flags = {
        "identity": f"{role}-{index}",
        **_client_flags(home, cluster, role),
        **_secure_port(home, role, _replica_port(cluster, role, index)),
    }
    arguments = (*_flags(flags), *extra)
    return ProcessSpec(f"{role}-{index}", module, arguments, Stage.AGENT)


def _replica_port(cluster: ClusterConfig, role: str, index: int) -> int:
    """Where the replica serves probes and figures; 0 where it does not."""
    by_role = {
        "scheduler": cluster.scheduler_ports,
        "controller-manager": cluster.controller_manager_ports,
    }
    ports = by_role.get(role)
    return ports[index] if ports else 0


def _secure_port(home: Home, role: str, port: int) -> dict[str, object]:
    """The flags of that port; none where it is 0, as in clusters from before there was one."""
    if not port:
        return {}
    pki = _absolute(home.pki)
    return {
        "bind-address": LOOPBACK,
        "secure-port": port,
        "tls-cert-file": pki / f"{role}-server.crt",
        "tls-private-key-file": pki / f"{role}-server.key",
        "client-ca-file": pki / "ca.crt",
    }


def _proxy_ports(cluster: ClusterConfig) -> tuple[str, ...]:
    """Upstream's ports; none for a cluster that shares the machine with others."""
    alone = cluster.rest_port == REST_PORT
    return tuple(
        f"--{name}-bind-address={f'{LOOPBACK}:{port}' if alone else ''}"
        for name, port in (("healthz", PROXY_HEALTH_PORT), ("metrics", PROXY_METRICS_PORT))
    )


def _metrics_server(home: Home, cluster: ClusterConfig) -> ProcessSpec:
    pki = _absolute(home.pki)
    flags = {
        "identity": "metrics-server-0",
        **_client_flags(home, cluster, "metrics-server"),
        "bind-address": LOOPBACK,
        "secure-port": cluster.metrics_port,
        "tls-cert-file": pki / "metrics-server-server.crt",
        "tls-private-key-file": pki / "metrics-server-server.key",
        "client-ca-file": pki / "ca.crt",
        "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
    }
    return ProcessSpec("metrics-server-0", "agents.metrics", _flags(flags), Stage.AGENT)


def _cloud_controller_manager(home: Home, cluster: ClusterConfig) -> ProcessSpec:
    name = "cloud-controller-manager"
    flags = {
        "identity": f"{name}-0",
        **_client_flags(home, cluster, name),
        "cloud-provider": "local",
        "cloud-config": _absolute(home.cluster_file),
        **_secure_port(home, name, cluster.cloud_controller_manager_port),
    }
    return ProcessSpec(f"{name}-0", "agents.cloud", (*_flags(flags), *CLOUD_FLAGS), Stage.AGENT)


def _name_server(home: Home, cluster: ClusterConfig) -> ProcessSpec:
    flags = {
        "identity": "dns-0",
        **_client_flags(home, cluster, "dns"),
        "bind-address": cluster.name_server,
        "cluster-ip": cluster.dns_address,
    }
    return ProcessSpec("dns-0", "agents.dns", _flags(flags), Stage.AGENT)


def _runtimes(home: Home, cluster: ClusterConfig) -> Iterator[ProcessSpec]:
    for node in cluster.nodes:
        if process := runtime_process(home, cluster, node):
            yield ProcessSpec(node.runtime_name, *process, Stage.RUNTIME, node.name)


def _node(home: Home, cluster: ClusterConfig, node: NodeConfig) -> ProcessSpec:
    pki = _absolute(home.pki)
    flags = {
        "name": node.name,
        "identity": node.name,
        "pod-cidr": node.pod_cidr,
        **_client_flags(home, cluster, node.name),
        "root-dir": _absolute(home.data(node.name)),
        "container-runtime-endpoint": runtime_endpoint(home, cluster, node),
        "cgroup-root": cgroup_root(cluster, node),
        "port": node.port,
        "tls-cert-file": pki / f"{node.name}-server.crt",
        "tls-private-key-file": pki / f"{node.name}-server.key",
        "client-ca-file": pki / "ca.crt",
    }
    # Resolvers ask port 53 and no other. Where nobody may listen there, the host's names must do.
    if _serves_names(cluster):
        flags["cluster-dns"] = cluster.dns_address
    arguments = (*_flags(flags), *NODE_FLAGS)
    return ProcessSpec(node.name, "agents.node", arguments, Stage.AGENT, node.name)


def _serves_names(cluster: ClusterConfig) -> bool:
    """Whether the proxy will be able to listen on the name server's Service address.

    That address itself may not be there yet: a node's runtime makes those that are not loopback.
    """
    is_loopback = ipaddress.ip_address(cluster.dns_address).is_loopback
    has_address = is_loopback or cluster.runtime is not NodeRuntime.PROCESS
    return has_address and may_listen(LOOPBACK, DNS_PORT)


def _hollow(home: Home, cluster: ClusterConfig) -> ProcessSpec:
    pki, name, hollow = _absolute(home.pki), "hollow-0", cluster.hollow
    flags = {
        "identity": name,
        "nodes": hollow.nodes,
        "cpu": hollow.cpu,
        "memory": hollow.memory,
        "max-pods": hollow.pods,
        **_client_flags(home, cluster, "hollow-nodes"),
        "root-dir": _absolute(home.data(name)),
        "port": cluster.hollow_port,
        "tls-cert-file": pki / "hollow-nodes-server.crt",
        "tls-private-key-file": pki / "hollow-nodes-server.key",
        "client-ca-file": pki / "ca.crt",
    }
    arguments = (*_flags(flags), "--taint" if hollow.taint else "--no-taint")
    return ProcessSpec(name, "agents.node.hollow", arguments, Stage.AGENT)


def _client_flags(home: Home, cluster: ClusterConfig, certificate: str) -> dict[str, object]:
    pki = _absolute(home.pki)
    return {
        "server": cluster.grpc_mtls,
        "ca-file": pki / "ca.crt",
        "cert-file": pki / f"{certificate}.crt",
        "key-file": pki / f"{certificate}.key",
    }


def _flags(values: dict[str, object]) -> tuple[str, ...]:
    return tuple(f"--{name}={value}" for name, value in values.items())


def _absolute(path: Path) -> Path:
    return path.absolute()
