"""What a cloud provider is: machines, addresses that are balanced, routes.

A provider is made by a function that takes a `CloudContext`; it is found by the name of an entry
point in the group `kubraft.cloud_providers`, or is the built-in one, `local`. All calls come from
the process that holds the Lease, from one event loop, many at a time but never two for the same
object. They may be repeated at any time: whatever is as it should be is left so. Any may raise
CloudError; the call comes again, each time later.

Source: k8s.io/cloud-provider, cloud.go (InstancesV2, LoadBalancer, Routes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Final, Protocol

from kubraft.api.object import Object
from kubraft.api.time import Clock

ENTRY_POINT_GROUP: Final = "kubraft.cloud_providers"


class CloudError(Exception):
    """The provider could not do it; the message is for the user, in an Event object."""


class InstanceNotFoundError(CloudError):
    """The provider has no machine for that Node, and never heard of one."""


@dataclass(frozen=True, slots=True)
class InstanceMetadata:
    """What a provider knows of a machine.

    Attributes:
        provider_id: "<provider>://<what it calls the machine>"; never changes.
        addresses: type (InternalIP, ExternalIP, Hostname, ...) and address.
        labels: further ones for the Node.
    """

    provider_id: str
    addresses: tuple[tuple[str, str], ...] = ()
    instance_type: str = ""
    zone: str = ""
    region: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ingress:
    """An address at which a Service is reached from outside.

    Attributes:
        mode: "VIP" where its packets reach the nodes with that address as their destination, and
            the service proxy must know it; "Proxy" where a balancer makes connections of its own.
    """

    ip: str = ""
    hostname: str = ""
    mode: str = "VIP"


@dataclass(frozen=True, slots=True)
class Route:
    """The way to the Pods of a node.

    Attributes:
        node_name: of a route that is listed it may be empty, where the provider only knows the
            gateway; the Node with that address is the one.
        addresses: of a route that is to be made: those of the Node, by type.
        gateway: of a route that is listed: the node's address, where the provider knows it. One
            that is none of the Node's any more is replaced.
        is_blackhole: it leads to nothing, and is deleted.
    """

    node_name: str
    destination_cidr: str
    addresses: tuple[tuple[str, str], ...] = ()
    gateway: str = ""
    is_blackhole: bool = False


class Instances(Protocol):
    """The machines behind Nodes."""

    async def exists(self, node: Object) -> bool:
        """Whether the machine is still there; True for Nodes that are none of this provider's."""
        ...

    async def is_shut_down(self, node: Object) -> bool:
        """Whether the machine is there and turned off."""
        ...

    async def metadata(self, node: Object) -> InstanceMetadata:
        """What is known of the machine; raises InstanceNotFoundError."""
        ...


class LoadBalancers(Protocol):
    """Addresses outside of the cluster that lead to Services' node ports."""

    async def ensure(self, service: Object, nodes: Sequence[Object]) -> tuple[Ingress, ...]:
        """Have a load balancer as the Service wants it, over these nodes; where it is reached."""
        ...

    async def delete(self, service: Object) -> None:
        """Have none for that Service; one that never was is no error."""
        ...


class Routes(Protocol):
    """The ways between nodes' Pods, where the network does not know them."""

    async def list(self) -> tuple[Route, ...]:
        """Those that there are, of this cluster."""
        ...

    async def create(self, route: Route) -> None: ...

    async def delete(self, route: Route) -> None: ...


class CloudProvider(Protocol):
    """A provider; what it does not have is None, and its controller does not run."""

    @property
    def name(self) -> str: ...

    @property
    def instances(self) -> Instances | None: ...

    @property
    def load_balancers(self) -> LoadBalancers | None: ...

    @property
    def routes(self) -> Routes | None: ...

    async def run(self) -> None:
        """Do what goes on by itself, while this process holds the Lease; until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class CloudContext:
    """What a provider is given.

    Attributes:
        config_file: the value of --cloud-config; empty where it is not set.
    """

    config_file: str
    clock: Clock


Factory = Callable[[CloudContext], CloudProvider]


def find_factory(name: str, built_in: Mapping[str, Factory]) -> Factory:
    """What makes the provider of that name.

    Raises:
        ValueError: there is none, or it cannot be imported.
    """
    if name in built_in:
        return built_in[name]
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        try:
            found: Factory = point.load()
        except (ImportError, AttributeError) as error:
            raise ValueError(f"--cloud-provider={name}: {error}") from error
        return found
    known = sorted({*built_in, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})
    raise ValueError(f"--cloud-provider={name}: there is no such provider; {', '.join(known)}")
