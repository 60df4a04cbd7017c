"""PodTopologyLabels: a Pod that gets a node gets the node's zone and region as labels.

Source: upstream's plugin of that name.
"""

from __future__ import annotations

from typing import Any, Final

from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionContext, AdmissionRequest, Operation
from kubraft.api.gvk import BINDING, NODE
from kubraft.api.object import labels_of

LABELS: Final = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    """Adds the labels to Bindings, from where they come to Pods, and to Pods made with a node."""

    name = "PodTopologyLabels"

    def __init__(self, context: AdmissionContext) -> None:
        self._context = context

    def handles(self, request: AdmissionRequest) -> bool:
        if request.operation is not Operation.CREATE:
            return False
        return request.creates_pod or (request.gvk, request.subresource) == (BINDING, "binding")

    async def mutate(self, request: AdmissionRequest) -> None:
        obj: dict[str, Any] = request.obj or {}
        if request.creates_pod:
            spec = obj.get("spec")
            name = spec.get("nodeName") if isinstance(spec, dict) else None
        else:
            target = obj.get("target") or {}
            name = target.get("name") if target.get("kind") in (None, "", "Node") else None
        node = self._context.reader.get(NODE, "", str(name)) if name else None
        if node is None:
            return
        found = {key: value for key, value in labels_of(node).items() if key in LABELS}
        if found:
            metadata = obj["metadata"]
            metadata["labels"] = {**found, **(metadata.get("labels") or {})}
