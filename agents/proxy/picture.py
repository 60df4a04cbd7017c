"""What a proxy sees of the cluster: Services, their EndpointSlices, and where it is itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from agents.proxy.service_ports import Place, service_key_of
from kubraft.api.gvk import ENDPOINT_SLICE, NODE, SERVICE, SERVICE_CIDR
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, labels_of
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.informer import Informer

_ZONE_LABEL: Final = "topology.kubernetes.io/zone"
_GOING_TAINT: Final = "ToBeDeletedByClusterAutoscaler"
_BY_SERVICE: Final = "service"


def _services_of(endpoint_slice: Object) -> Iterable[str]:
    key = service_key_of(endpoint_slice)
    return () if key is None else (f"{key.namespace}/{key.name}",)


class Picture:
    """Informers, and the keys of Services of which something has changed.

    Args:
        node_name: the node that the proxy is for; "" where it is for all nodes of its machine.
    """

    def __init__(self, client: ApiClient, clock: Clock, node_name: str = "") -> None:
        self.node_name = node_name
        self.news = asyncio.Event()  # something has changed since `take`
        self._services = Informer(client, SERVICE, clock=clock)
        self._slices = Informer(
            client, ENDPOINT_SLICE, clock=clock, indexers={_BY_SERVICE: _services_of}
        )
        self._nodes = Informer(
            client, NODE, clock=clock, field_selector=f"metadata.name={node_name}"
        )
        self._networks = Informer(client, SERVICE_CIDR, clock=clock)
        self._changed: set[ObjectKey] = set()
        self._slice_changes = 0
        self._services.add_handler(self._on_service)
        self._slices.add_handler(self._on_slice)
        for informer in (self._nodes, self._networks):
            informer.add_handler(self._on_other)

    async def follow(self) -> None:
        """Follow the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._followed():
                group.create_task(informer.run())

    async def follow_networks(self) -> None:
        """Follow also the Services' networks, which only rules ask for."""
        await self._networks.run()

    async def wait_synced(self) -> None:
        """Return once all that `follow` follows is known."""
        for informer in self._followed():
            await informer.wait_synced()

    def _followed(self) -> list[Informer]:
        nodes = [self._nodes] if self.node_name else []
        return [self._services, self._slices, *nodes]

    def take(self) -> frozenset[ObjectKey]:
        """The Services of which something has changed since the last call."""
        taken = frozenset(self._changed)
        self._changed.clear()
        self.news.clear()
        return taken

    def services(self) -> list[Object]:
        return self._services.list()

    def slices(self) -> list[Object]:
        return self._slices.list()

    def service(self, key: ObjectKey) -> Object | None:
        return self._services.get(key)

    def slices_of(self, key: ObjectKey) -> list[Object]:
        return self._slices.by_index(_BY_SERVICE, f"{key.namespace}/{key.name}")

    def node(self) -> Object | None:
        """The node that the proxy is for."""
        return next(iter(self._nodes.list()), None)

    def place(self) -> Place:
        if not self.node_name:
            return Place()
        node = self.node()
        zone = labels_of(node).get(_ZONE_LABEL, "") if node else ""
        return Place(frozenset({self.node_name}), zone)

    def node_addresses(self) -> tuple[str, ...]:
        """The first internal address of each family of the proxy's node."""
        status = (self.node() or {}).get("status") or {}
        found: dict[bool, str] = {}
        for each in status.get("addresses") or ():
            if each.get("type") == "InternalIP":
                found.setdefault(":" in each["address"], each["address"])
        return tuple(found.values())

    def node_is_going(self) -> bool:
        """Whether load balancers should go elsewhere, as the node will not be there for long."""
        node = self.node()
        if node is None:
            return False
        taints = (node.get("spec") or {}).get("taints") or ()
        return is_terminating(node) or any(each.get("key") == _GOING_TAINT for each in taints)

    def service_networks(self) -> tuple[str, ...]:
        """Where Services' own addresses are from."""
        return tuple(
            sorted(cidr for each in self._networks.list() for cidr in each["spec"].get("cidrs", ()))
        )

    def on_change(
        self, slice_seen: Callable[[Object], None], service_seen: Callable[[], None]
    ) -> None:
        """Have these called for each slice that is new or changed, and each change of a Service."""
        self._slices.add_handler(lambda _, new: slice_seen(new) if new is not None else None)
        self._services.add_handler(lambda _old, _new: service_seen())

    def _on_service(self, old: Object | None, new: Object | None) -> None:
        self._note(key_of(new or old or {}))

    def _on_slice(self, old: Object | None, new: Object | None) -> None:
        for each in (old, new):
            key = service_key_of(each) if each is not None else None
            if key is not None:
                self._note(key)

    def _on_other(self, _old: Object | None, _new: Object | None) -> None:
        self.news.set()

    def _note(self, key: ObjectKey) -> None:
        self._changed.add(key)
        self.news.set()
