"""Keeps the EndpointSlices of Services with a selector."""

from __future__ import annotations

from collections.abc import Iterable

from agents.controllers.context import Context
from agents.controllers.endpoints.membership import (
    HEADLESS,
    ZONE,
    addresses_of,
    affected,
    endpoint_of,
    families_of,
    is_headless,
    ports_of,
    selects,
    selects_pods,
)
from agents.controllers.endpoints.slice_writer import SliceWriter, service_key
from agents.controllers.endpoints.slices import MANAGED_BY, SERVICE_NAME, Wanted
from agents.controllers.informers import BY_NODE
from kubraft.api.errors import AlreadyExistsError, ApiError, ConflictError
from kubraft.api.gvk import ENDPOINT_SLICE, NODE, POD, SERVICE
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, labels_of
from kubraft.client.controller import Controller

MANAGER = "endpointslice-controller.k8s.io"


def wanted_slices(service: Object, pods: Iterable[Object], zones: dict[str, str]) -> Wanted:
    """What the Service's slices should hold.

    Args:
        pods: those that the Service selects.
        zones: of nodes by name.
    """
    labels = {k: v for k, v in labels_of(service).items() if k not in (HEADLESS, SERVICE_NAME)}
    labels |= {SERVICE_NAME: service["metadata"]["name"], MANAGED_BY: MANAGER}
    if is_headless(service):
        labels[HEADLESS] = ""
    wanted = Wanted(service, labels, families_of(service))
    has_ports = bool(service["spec"].get("ports"))
    for pod in pods:
        for family in wanted.families:
            for address in addresses_of(pod, family)[:1]:
                ports = ports_of(service, pod)
                if ports or not has_ports:
                    wanted.add(family, ports, endpoint_of(service, pod, address, zones))
    return wanted


class EndpointSliceController:
    """Reconciles one Service at a time per worker, by key."""

    def __init__(self, context: Context) -> None:
        self._recorder = context.recorder("endpoint-slice-controller")
        self._services = context.informers.of(SERVICE)
        self._pods = context.informers.of(POD)
        self._nodes = context.informers.of(NODE)
        self._writer = SliceWriter(context, MANAGER, self._recorder)
        self._controller = Controller(
            "endpointslice-controller",
            self.reconcile,
            workers=context.options.concurrent_service_endpoint_syncs,
            clock=context.clock,
        )
        self._services.add_handler(self._on_service)
        self._pods.add_handler(self._on_pod)
        self._nodes.add_handler(self._on_node)
        context.informers.of(ENDPOINT_SLICE).add_handler(self._on_slice)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Bring the Service's slices to its Pods."""
        service = self._services.get(key)
        if service is None:
            self._writer.forget(key)
            return None
        if not selects_pods(service) or is_terminating(service):
            return None
        pods = [pod for pod in self._pods.list(key.namespace) if selects(service, pod)]
        zones = {
            key_of(node).name: zone
            for node in self._nodes.list()
            if (zone := labels_of(node).get(ZONE))
        }
        try:
            return await self._writer.write(key, wanted_slices(service, pods, zones))
        except (ConflictError, AlreadyExistsError):
            raise  # the cache lags: nothing to trouble anybody with
        except ApiError as error:
            text = f"Error updating Endpoint Slices for Service {key}: {error.message}"
            self._recorder.event(service, "Warning", "FailedToUpdateEndpointSlices", text)
            raise

    def _on_service(self, old: Object | None, new: Object | None) -> None:
        self._controller.queue.add(key_of(new or old or {}))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        for service in affected(self._services.list, old, new):
            self._controller.queue.add(key_of(service))

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        node = new or old or {}
        if labels_of(old or {"metadata": {}}).get(ZONE) != labels_of(new or {"metadata": {}}).get(
            ZONE
        ):
            for pod in self._pods.by_index(BY_NODE, key_of(node).name):
                self._on_pod(None, pod)

    def _on_slice(self, old: Object | None, new: Object | None) -> None:
        """What others did to a slice is put right."""
        if key := service_key(new or old or {}, MANAGER):
            self._controller.queue.add(key)
