"""Keeps the open sockets as Services and EndpointSlices say."""

from __future__ import annotations

import asyncio

from agents.proxy.fronts import Backends, Front, fronts_of
from agents.proxy.listeners import Listeners
from kubraft.api.gvk import ENDPOINT_SLICE, SERVICE
from kubraft.api.object import Object
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.events import EventRecorder
from kubraft.client.informer import Informer
from kubraft.log import get_logger

# Changes that come together are taken together.
_GATHER_S = 0.01
# A port that was taken may be free again.
_RETRY_S = 5.0


class Proxy:
    """The service proxy of a machine, for all nodes that share its loopback."""

    def __init__(
        self, client: ApiClient, recorder: EventRecorder, clock: Clock, node_address: str
    ) -> None:
        self._services = Informer(client, SERVICE, clock=clock)
        self._slices = Informer(client, ENDPOINT_SLICE, clock=clock)
        self._recorder = recorder
        self._clock = clock
        self._node_address = node_address
        self._listeners = Listeners(clock)
        self._changed = asyncio.Event()
        self._failed: dict[Front, str] = {}
        self._log = get_logger("proxy")
        for informer in (self._services, self._slices):
            informer.add_handler(self._on_change)

    @property
    def fronts(self) -> frozenset[Front]:
        """What clients can connect to now."""
        return self._listeners.fronts

    async def follow(self) -> None:
        """Follow Services and EndpointSlices until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._services.run())
            group.create_task(self._slices.run())

    async def wait_synced(self) -> None:
        """Return once all Services and EndpointSlices are known."""
        await self._services.wait_synced()
        await self._slices.wait_synced()

    async def run(self) -> None:
        """Open and close sockets until cancelled; all are closed then."""
        try:
            while True:
                self._changed.clear()
                await self.sync()
                try:
                    async with asyncio.timeout(_RETRY_S if self._failed else None):
                        await self._changed.wait()
                except TimeoutError:
                    continue
                await self._clock.sleep(_GATHER_S)
        finally:
            self._listeners.close()

    async def sync(self) -> None:
        """Make the sockets those of the caches, once."""
        table = fronts_of(self._services.list(), self._slices.list(), self._node_address)
        failed = await self._listeners.apply(table)
        for front, cause in failed.items():
            if self._failed.get(front) != cause:
                self._report(table[front], front, cause)
        self._failed = failed

    def _report(self, backends: Backends, front: Front, cause: str) -> None:
        self._log.warning("not_listening", front=str(front), cause=cause)
        service = {
            "kind": "Service",
            "apiVersion": "v1",
            "namespace": backends.service.namespace,
            "name": backends.service.name,
            "uid": backends.uid,
        }
        message = f"Cannot listen on {front}: {cause}{_advice(front, cause)}"
        self._recorder.event(service, "Warning", "FailedToListen", message)

    def _on_change(self, _old: Object | None, _new: Object | None) -> None:
        self._changed.set()


def _advice(front: Front, cause: str) -> str:
    if cause == "Permission denied":
        return (
            f"; a port below 1024 needs root, or `sysctl net.ipv4.ip_unprivileged_port_start="
            f"{front.port}`"
        )
    return ""
