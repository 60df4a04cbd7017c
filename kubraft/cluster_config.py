"""What a cluster is made of: members, nodes, replicas, ports and networks (`cluster.json`).

Members and ports are fixed for the cluster's life, so that a member keeps its address over any
stop, kill and cold restart; nodes and replicas may be more or fewer at the next start.
"""

from __future__ import annotations

import ipaddress
import json
import random
import secrets
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from kubraft import ports
from kubraft.node_runtime import NodeRuntime, network_of

MEMBER_COUNTS: Final = (1, 3, 5)
NODES_MAX: Final = 40
HOLLOW_NODES_MAX: Final = 5_000
REPLICAS_MAX: Final = 5  # of apiserver, scheduler, controller manager
_VERSION: Final = 1
_BALANCER_NETWORK: Final = 48
_NAME_SERVER_NETWORK: Final = 63  # of 64 that a cluster has; nodes have the first ones


class ClusterConfigError(Exception):
    """What is asked of a cluster cannot be; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """One store member and its two ports on loopback."""

    name: str
    client_port: int
    peer_port: int

    @property
    def client_url(self) -> str:
        return f"https://{ports.LOOPBACK}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        return f"https://{ports.LOOPBACK}:{self.peer_port}"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node: its name, its agent's port and the addresses of its Pods."""

    name: str
    port: int
    pod_cidr: str

    @property
    def runtime_name(self) -> str:
        return self.name.replace("node-", "runtime-")


@dataclass(frozen=True, slots=True)
class HollowConfig:
    """The hollow nodes: how many, what each has for Pods, and whether a taint keeps Pods off."""

    nodes: int = 0
    cpu: int = 32
    memory: str = "256Gi"
    pods: int = 110
    taint: bool = True


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """What `cluster.json` says. Members and ports never change; the other counts may."""

    token: str
    members: tuple[MemberConfig, ...]
    nodes: tuple[NodeConfig, ...]
    node_ports: tuple[int, ...]
    pod_network: str  # "127.64.0", the first three numbers of node-0's /24
    apiservers: int = 1
    schedulers: int = 1
    controller_managers: int = 1
    rest_port: int = ports.REST_PORT
    grpc_port: int = ports.GRPC_PORT
    grpc_mtls_port: int = ports.GRPC_MTLS_PORT
    # Where Services' addresses are from; the default is that of clusters that had no proxy.
    service_network: str = "10.96.0.0/16"
    metrics_port: int = ports.METRICS_PORT
    # For probes and figures, one a replica; none in clusters from before there were such ports.
    scheduler_ports: tuple[int, ...] = ()
    controller_manager_ports: tuple[int, ...] = ()
    cloud_controller_manager_port: int = 0
    hollow_port: int = ports.HOLLOW_PORT
    hollow: HollowConfig = field(default=HollowConfig())
    runtime: NodeRuntime = NodeRuntime.PROCESS
    # The socket of a runtime that somebody else runs.
    runtime_endpoint: str = ""
    version: int = field(default=_VERSION)

    @property
    def rest(self) -> str:
        return f"https://{ports.LOOPBACK}:{self.rest_port}"

    @property
    def grpc(self) -> str:
        return f"{ports.LOOPBACK}:{self.grpc_port}"

    @property
    def grpc_mtls(self) -> str:
        return f"{ports.LOOPBACK}:{self.grpc_mtls_port}"

    @property
    def kubernetes_address(self) -> str:
        """The address of the Service `kubernetes`: the first one of the service network."""
        return str(ipaddress.ip_network(self.service_network)[1])

    @property
    def dns_address(self) -> str:
        """The address of the Service `kube-dns`: the tenth one, as kubeadm has it."""
        return str(ipaddress.ip_network(self.service_network)[10])

    @property
    def name_server(self) -> str:
        """Where the name server itself listens: beyond the Pods of the last possible node.

        On loopback, whatever the Pods' addresses: they ask its Service.
        """
        _, second, third = map(int, self.pod_network.split("."))
        return f"127.{second}.{third + _NAME_SERVER_NETWORK}.53"

    @property
    def balancer_network(self) -> str:
        """Where load balancers' addresses are from: beyond the Pods', before the name server's."""
        _, second, third = map(int, self.pod_network.split("."))
        return f"127.{second}.{third + _BALANCER_NETWORK}.0/21"

    @property
    def endpoints(self) -> str:
        """The members' client URLs, as `--etcd-servers` and `--endpoints` take them."""
        return ",".join(member.client_url for member in self.members)

    @property
    def initial_cluster(self) -> str:
        """As etcd's flag of that name takes it."""
        return ",".join(f"{member.name}={member.peer_url}" for member in self.members)

    def with_counts(self, counts: Counts) -> ClusterConfig:
        """This cluster with other numbers of what may change.

        Raises:
            ClusterConfigError: `counts` asks for another number of members, or is out of bounds.
        """
        wanted = counts.checked()
        if wanted.members not in (None, len(self.members)):
            raise ClusterConfigError(
                f"this cluster has {len(self.members)} members, not {wanted.members}: "
                "`make clean` removes it and its data"
            )
        self._check_runtime(wanted)
        nodes = self.nodes
        if wanted.nodes not in (None, len(nodes)):
            nodes = tuple(self._node(index) for index in range(wanted.nodes or 0))
        return replace(
            self,
            nodes=nodes,
            apiservers=wanted.apiservers or self.apiservers,
            schedulers=wanted.schedulers or self.schedulers,
            controller_managers=wanted.controller_managers or self.controller_managers,
            hollow=wanted.hollow or self.hollow,
        )

    def _check_runtime(self, wanted: Counts) -> None:
        same = wanted.runtime in (None, self.runtime)
        if not same or wanted.runtime_endpoint not in ("", self.runtime_endpoint):
            raise ClusterConfigError(
                f"this cluster's nodes have the {self.runtime} runtime: "
                "`make clean` removes it and its data"
            )
        if self.runtime is NodeRuntime.FOREIGN and (wanted.nodes or 0) > 1:
            raise ClusterConfigError(f"NODES={wanted.nodes}: one runtime is for one node")

    def with_node(self) -> tuple[ClusterConfig, NodeConfig]:
        """This cluster with one node more, and that node.

        Raises:
            ClusterConfigError: it has as many as there can be.
        """
        if self.runtime is NodeRuntime.FOREIGN:
            raise ClusterConfigError("one runtime is for one node")
        names = {node.name for node in self.nodes}
        for index in range(NODES_MAX):
            node = self._node(index)
            if node.name not in names:
                return replace(self, nodes=(*self.nodes, node)), node
        raise ClusterConfigError(f"this cluster has {NODES_MAX} nodes, which is the most")

    def without_node(self, name: str) -> ClusterConfig:
        """This cluster without that node.

        Raises:
            ClusterConfigError: it has no such node.
        """
        left = tuple(node for node in self.nodes if node.name != name)
        if left == self.nodes:
            known = ", ".join(node.name for node in self.nodes) or "none"
            raise ClusterConfigError(f"no node is named {name!r}: there are {known}")
        return replace(self, nodes=left)

    def _node(self, index: int) -> NodeConfig:
        first, second, third = map(int, self.pod_network.split("."))
        cidr = f"{first}.{second}.{third + index}.0/24"
        return NodeConfig(f"node-{index}", self.node_ports[index], cidr)

    def to_json(self) -> str:
        return json.dumps({"kubraft": asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError, KeyError or TypeError where `text` is not such a file."""
        values: dict[str, Any] = json.loads(text)["kubraft"]
        if values["version"] != _VERSION:
            raise ValueError(f"version {values['version']} is not {_VERSION}")
        values["members"] = tuple(MemberConfig(**member) for member in values["members"])
        values["nodes"] = tuple(NodeConfig(**node) for node in values["nodes"])
        for name in ("node_ports", "scheduler_ports", "controller_manager_ports"):
            values[name] = tuple(values.get(name, ()))
        values["hollow"] = HollowConfig(**values.get("hollow", {}))
        values["runtime"] = NodeRuntime(values.get("runtime", NodeRuntime.PROCESS))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of each a user asked for; `None` is whatever the cluster has, or the default."""

    members: int | None = None
    nodes: int | None = None
    apiservers: int | None = None
    schedulers: int | None = None
    controller_managers: int | None = None
    hollow: HollowConfig | None = None
    runtime: NodeRuntime | None = None
    runtime_endpoint: str = ""

    def checked(self) -> Self:
        """Itself, if every count is within its bounds.

        Raises:
            ClusterConfigError: one is not; the message names it.
        """
        if self.runtime_endpoint and self.runtime is not NodeRuntime.FOREIGN:
            raise ClusterConfigError("a runtime of its own has no endpoint to be given")
        if self.members is not None and self.members not in MEMBER_COUNTS:
            allowed = ", ".join(map(str, MEMBER_COUNTS))
            raise ClusterConfigError(f"MEMBERS={self.members}: a quorum has {allowed} members")
        bounds = {
            "NODES": (self.nodes, 0, NODES_MAX),
            "APISERVERS": (self.apiservers, 1, REPLICAS_MAX),
            "SCHEDULERS": (self.schedulers, 1, REPLICAS_MAX),
            "CONTROLLER_MANAGERS": (self.controller_managers, 1, REPLICAS_MAX),
            "HOLLOW": (self.hollow.nodes if self.hollow else None, 0, HOLLOW_NODES_MAX),
        }
        for name, (value, least, most) in bounds.items():
            if value is not None and not least <= value <= most:
                raise ClusterConfigError(f"{name}={value}: must be {least} to {most}")
        return self


def new_cluster(counts: Counts, *, auto_ports: bool, rng: random.Random) -> ClusterConfig:
    """A cluster that is not on disk yet.

    Args:
        counts: how many of each; three members and two nodes where absent.
        auto_ports: take a free block of ports and Pod addresses of its own, for clusters side by
            side, instead of the fixed ones.
        rng: picks the block.

    Raises:
        ClusterConfigError: a count is out of bounds.
        OSError: no ports are free.
    """
    wanted = counts.checked()
    member_count = wanted.members or 3
    runtime = wanted.runtime or NodeRuntime.PROCESS
    if auto_ports:
        block = ports.free_block(rng)
        free = iter(block.ports)
        rest, grpc, grpc_mtls = next(free), next(free), next(free)
        pairs = [(next(free), next(free)) for _ in range(member_count)]
        node_ports = tuple(next(free) for _ in range(NODES_MAX))
        metrics, hollow = next(free), next(free)
        schedulers = tuple(next(free) for _ in range(REPLICAS_MAX))
        controller_managers = tuple(next(free) for _ in range(REPLICAS_MAX))
        cloud = next(free)
        # Four clusters share a /16; 127.64 and 127.160 are the fixed one's.
        sixteenth, part = divmod(block.index, 4)
        pod_network = f"127.{65 + sixteenth}.{part * 64}"
        service_network = f"127.{161 + sixteenth}.{part * 64}.0/18"
    else:
        rest, grpc, grpc_mtls = ports.REST_PORT, ports.GRPC_PORT, ports.GRPC_MTLS_PORT
        metrics, hollow = ports.METRICS_PORT, ports.HOLLOW_PORT
        pairs = [(port, port + 1) for port in ports.MEMBER_CLIENT_PORTS[:member_count]]
        step = ports.NODE_PORT_STEP
        node_ports = tuple(ports.NODE_PORT_FIRST + step * index for index in range(NODES_MAX))
        steps = range(0, REPLICAS_MAX * step, step)
        schedulers = tuple(ports.SCHEDULER_PORT + each for each in steps)
        controller_managers = tuple(ports.CONTROLLER_MANAGER_PORT + each for each in steps)
        cloud = ports.CLOUD_CONTROLLER_MANAGER_PORT
        pod_network, service_network = "127.64.0", "127.160.0.0/16"
    members = tuple(
        MemberConfig(f"store-{index}", client, peer) for index, (client, peer) in enumerate(pairs)
    )
    empty = ClusterConfig(
        token=secrets.token_hex(8),
        members=members,
        nodes=(),
        node_ports=node_ports,
        pod_network=network_of(runtime, pod_network),
        service_network=network_of(runtime, service_network),
        rest_port=rest,
        grpc_port=grpc,
        grpc_mtls_port=grpc_mtls,
        metrics_port=metrics,
        scheduler_ports=schedulers,
        controller_manager_ports=controller_managers,
        cloud_controller_manager_port=cloud,
        hollow_port=hollow,
        runtime=runtime,
        runtime_endpoint=wanted.runtime_endpoint,
    )
    node_count = 1 if runtime is NodeRuntime.FOREIGN else 2
    return empty.with_counts(
        replace(wanted, nodes=node_count if wanted.nodes is None else wanted.nodes)
    )
