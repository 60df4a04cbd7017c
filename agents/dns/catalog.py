"""What of the cluster has a name: its Services, their EndpointSlices and the namespaces.

Any change is seen by the next question: answers are made of the caches that the watches fill.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from typing import Final, Protocol

from kubraft.api.gvk import ENDPOINT_SLICE, NAMESPACE, SERVICE
from kubraft.api.object import Object, ObjectKey, key_of, labels_of
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.informer import Informer

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"


class Catalog(Protocol):
    """The cluster as the zone reads it; names are in lower case, addresses in their short form."""

    def has_namespace(self, name: str) -> bool:
        """Whether there is such a namespace."""
        ...

    def find_service(self, namespace: str, name: str) -> Object | None:
        """The Service of that name."""
        ...

    def slices_of(self, namespace: str, name: str) -> list[Object]:
        """The EndpointSlices of a Service."""
        ...

    def services_at(self, address: str) -> list[Object]:
        """The Services with that cluster address."""
        ...

    def slices_at(self, address: str) -> list[Object]:
        """The EndpointSlices that have an endpoint there."""
        ...

    def serial(self) -> int:
        """Grows with changes: the zone's serial number."""
        ...


def service_key(endpoint_slice: Object) -> ObjectKey | None:
    """The Service that a slice belongs to."""
    name = labels_of(endpoint_slice).get(SERVICE_NAME_LABEL)
    return ObjectKey(key_of(endpoint_slice).namespace, name) if name else None


def short_form(address: str) -> str:
    """An address as `ipaddress` writes it; as it is where it is none."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


class WatchedCatalog:
    """The catalog that follows the API server."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self.services = Informer(
            client, SERVICE, clock=clock, indexers={"address": _cluster_addresses}
        )
        self.slices = Informer(
            client,
            ENDPOINT_SLICE,
            clock=clock,
            indexers={"service": _service_index, "address": _endpoint_addresses},
        )
        self._namespaces = Informer(client, NAMESPACE, clock=clock)
        self._clock = clock
        self._changed_s = 0
        for informer in self._informers:
            informer.add_handler(self._on_change)

    @property
    def _informers(self) -> tuple[Informer, ...]:
        return self.services, self.slices, self._namespaces

    @property
    def synced(self) -> bool:
        """Whether all that there is is known."""
        return all(informer.synced for informer in self._informers)

    async def follow(self) -> None:
        """Follow the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run())

    async def wait_synced(self) -> None:
        """Return once all that there is is known."""
        for informer in self._informers:
            await informer.wait_synced()

    def has_namespace(self, name: str) -> bool:
        return self._namespaces.get(ObjectKey("", name)) is not None

    def find_service(self, namespace: str, name: str) -> Object | None:
        return self.services.get(ObjectKey(namespace, name))

    def slices_of(self, namespace: str, name: str) -> list[Object]:
        return self.slices.by_index("service", f"{namespace}/{name}")

    def services_at(self, address: str) -> list[Object]:
        return self.services.by_index("address", address)

    def slices_at(self, address: str) -> list[Object]:
        return self.slices.by_index("address", address)

    def serial(self) -> int:
        return self._changed_s

    def _on_change(self, _old: Object | None, _new: Object | None) -> None:
        self._changed_s = max(self._changed_s, int(self._clock.now().timestamp()))


def _cluster_addresses(service: Object) -> Iterator[str]:
    spec = service.get("spec") or {}
    for address in {*(spec.get("clusterIPs") or ()), spec.get("clusterIP")}:
        if address and address != "None":
            yield short_form(address)


def _service_index(endpoint_slice: Object) -> Iterator[str]:
    if key := service_key(endpoint_slice):
        yield str(key)


def _endpoint_addresses(endpoint_slice: Object) -> set[str]:
    return {
        short_form(address)
        for endpoint in endpoint_slice.get("endpoints") or ()
        for address in endpoint.get("addresses") or ()
    }
