"""PersistentVolumeClaimResize: claims grow where their class allows it.

Source: upstream's plugin of that name (messages).
"""

from __future__ import annotations

from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionContext, AdmissionRequest, Operation
from kubraft.api.gvk import PERSISTENT_VOLUME_CLAIM, STORAGE_CLASS
from kubraft.api.object import Object
from kubraft.api.quantity import Quantity, parse_quantity


class PersistentVolumeClaimResize(Plugin):
    """Judges updates that ask for more storage."""

    name = "PersistentVolumeClaimResize"

    def __init__(self, context: AdmissionContext) -> None:
        self._context = context

    def handles(self, request: AdmissionRequest) -> bool:
        asked = (request.gvk, request.subresource, request.operation)
        return asked == (PERSISTENT_VOLUME_CLAIM, "", Operation.UPDATE)

    async def validate(self, request: AdmissionRequest) -> None:
        assert request.obj is not None
        assert request.old is not None
        new, old = request.obj, request.old
        if _size(new) <= _size(old):
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise request.forbidden("Only bound persistent volume claims can be expanded")
        name = new["spec"].get("storageClassName") or ""
        known = self._context.reader.get(STORAGE_CLASS, "", name) if name else None
        same = name == old["spec"].get("storageClassName")
        if known is None or not same or known.get("allowVolumeExpansion") is not True:
            raise request.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that "
                "provisions the pvc must support resize"
            )


def _size(claim: Object) -> Quantity:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return parse_quantity(requests.get("storage", "0"))
