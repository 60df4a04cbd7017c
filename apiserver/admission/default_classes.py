"""DefaultStorageClass and DefaultIngressClass: who names no class gets the one marked as default.

Source: upstream's plugins of these names (which of several defaults counts, messages).
"""

from __future__ import annotations

from typing import Final

from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionContext, AdmissionRequest, Operation
from apiserver.registry.kinds.ingress import INGRESS, INGRESS_CLASS
from kubraft.api.gvk import PERSISTENT_VOLUME_CLAIM, STORAGE_CLASS, GroupVersionKind
from kubraft.api.object import Object

_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
_STORAGE: Final = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_INGRESS: Final = ("ingressclass.kubernetes.io/is-default-class",)
_INGRESS_ANNOTATION: Final = "kubernetes.io/ingress.class"


class DefaultStorageClass(Plugin):
    """Sets `storageClassName` of new claims; "" in it is a choice too."""

    name = "DefaultStorageClass"

    def __init__(self, context: AdmissionContext) -> None:
        self._context = context

    def handles(self, request: AdmissionRequest) -> bool:
        return _creates(request, PERSISTENT_VOLUME_CLAIM)

    async def mutate(self, request: AdmissionRequest) -> None:
        obj = request.obj or {}
        spec = obj.get("spec")
        if not isinstance(spec, dict) or spec.get("storageClassName") is not None:
            return
        if _BETA_CLASS in ((obj.get("metadata") or {}).get("annotations") or {}):
            return
        if found := _defaults(self._context, STORAGE_CLASS, _STORAGE):
            spec["storageClassName"] = found[0]["metadata"]["name"]


class DefaultIngressClass(Plugin):
    """Sets `ingressClassName` of new Ingresses."""

    name = "DefaultIngressClass"

    def __init__(self, context: AdmissionContext) -> None:
        self._context = context

    def handles(self, request: AdmissionRequest) -> bool:
        return _creates(request, INGRESS)

    async def mutate(self, request: AdmissionRequest) -> None:
        obj = request.obj or {}
        spec = obj.setdefault("spec", {})
        if not isinstance(spec, dict) or spec.get("ingressClassName") is not None:
            return
        if _INGRESS_ANNOTATION in ((obj.get("metadata") or {}).get("annotations") or {}):
            return
        if found := _defaults(self._context, INGRESS_CLASS, _INGRESS):
            spec["ingressClassName"] = found[0]["metadata"]["name"]


def _creates(request: AdmissionRequest, kind: GroupVersionKind) -> bool:
    return (request.gvk, request.subresource, request.operation) == (kind, "", Operation.CREATE)


def _defaults(
    context: AdmissionContext, kind: GroupVersionKind, annotations: tuple[str, ...]
) -> list[Object]:
    """The classes that are marked, the youngest first, as upstream takes it."""
    marked = [
        each
        for each in context.reader.list(kind)
        if any(
            (each["metadata"].get("annotations") or {}).get(annotation) == "true"
            for annotation in annotations
        )
    ]
    marked.sort(key=lambda each: str(each["metadata"]["name"]))
    marked.sort(key=lambda each: str(each["metadata"].get("creationTimestamp", "")), reverse=True)
    return marked
