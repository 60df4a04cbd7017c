"""Mirrors Endpoints that somebody wrote for a Service without selector into EndpointSlices.

Source: Kubernetes documentation, "EndpointSlice mirroring"; upstream's controller of that name.
"""

from __future__ import annotations

from agents.controllers.context import Context
from agents.controllers.endpoints.membership import family_of
from agents.controllers.endpoints.slice_writer import SliceWriter, service_key
from agents.controllers.endpoints.slices import MANAGED_BY, SERVICE_NAME, Wanted
from agents.controllers.endpoints.subsets import SKIP_MIRROR
from kubraft.api.gvk import ENDPOINT_SLICE, ENDPOINTS, SERVICE
from kubraft.api.object import (
    Object,
    ObjectKey,
    annotations_of,
    is_terminating,
    key_of,
    labels_of,
)
from kubraft.client.controller import Controller

MANAGER = "endpointslicemirroring-controller.k8s.io"
LEADER = "control-plane.alpha.kubernetes.io/leader"
# Source: upstream's flag --mirroring-max-endpoints-per-subset.
ENDPOINTS_MAX = 1000
_NOT_COPIED = (
    "endpoints.kubernetes.io/last-change-trigger-time",
    "kubectl.kubernetes.io/last-applied-configuration",
)


def is_mirrored(endpoints: Object) -> bool:
    """Whether the object is neither made by a controller nor a lock of an election."""
    return labels_of(endpoints).get(SKIP_MIRROR) != "true" and LEADER not in annotations_of(
        endpoints
    )


def mirrored(endpoints: Object) -> Wanted:
    """What the slices of `endpoints` should hold; they are owned by it."""
    labels = {k: v for k, v in labels_of(endpoints).items() if k != SKIP_MIRROR}
    labels |= {SERVICE_NAME: endpoints["metadata"]["name"], MANAGED_BY: MANAGER}
    annotations = {k: v for k, v in annotations_of(endpoints).items() if k not in _NOT_COPIED}
    wanted = Wanted(endpoints, labels, (), annotations=annotations)
    for subset in endpoints.get("subsets") or ():
        entries = [(True, entry) for entry in subset.get("addresses") or ()]
        entries += [(False, entry) for entry in subset.get("notReadyAddresses") or ()]
        for ready, entry in entries[:ENDPOINTS_MAX]:
            if family := family_of(entry["ip"]):
                wanted.add(family, subset.get("ports") or (), _endpoint(entry, ready=ready))
    return wanted


def _endpoint(entry: Object, *, ready: bool) -> Object:
    endpoint: Object = {"addresses": [entry["ip"]], "conditions": {"ready": ready}}
    for name in ("hostname", "nodeName", "targetRef"):
        if entry.get(name):
            endpoint[name] = entry[name]
    return endpoint


class EndpointSliceMirroringController:
    """Reconciles one Endpoints object at a time per worker, by key."""

    def __init__(self, context: Context) -> None:
        self._services = context.informers.of(SERVICE)
        self._endpoints = context.informers.of(ENDPOINTS)
        recorder = context.recorder("endpoint-slice-mirroring-controller")
        self._writer = SliceWriter(context, MANAGER, recorder)
        self._controller = Controller(
            "endpointslice-mirroring-controller",
            self.reconcile,
            workers=context.options.mirroring_concurrent_service_endpoint_syncs,
            clock=context.clock,
        )
        self._services.add_handler(self._on_named)
        self._endpoints.add_handler(self._on_named)
        context.informers.of(ENDPOINT_SLICE).add_handler(self._on_slice)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Bring the slices to the Endpoints; without a Service for them there are none."""
        endpoints, service = self._endpoints.get(key), self._services.get(key)
        if endpoints is None or is_terminating(endpoints):
            self._writer.forget(key)  # the slices go by their owner
            return None
        if service is None or service["spec"].get("selector") or not is_mirrored(endpoints):
            await self._writer.clear(key)
            return None
        return await self._writer.write(key, mirrored(endpoints))

    def _on_named(self, old: Object | None, new: Object | None) -> None:
        """A Service and its Endpoints have one name."""
        self._controller.queue.add(key_of(new or old or {}))

    def _on_slice(self, old: Object | None, new: Object | None) -> None:
        if key := service_key(new or old or {}, MANAGER):
            self._controller.queue.add(key)
