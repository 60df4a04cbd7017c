"""StorageObjectInUseProtection: claims and volumes begin with the finalizer that protects them.

Source: upstream's plugin of that name.
"""

from __future__ import annotations

from typing import Final

from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionRequest, Operation
from kubraft.api.gvk import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM
from kubraft.api.storage import CLAIM_PROTECTION, VOLUME_PROTECTION

_FINALIZERS: Final = {
    PERSISTENT_VOLUME: VOLUME_PROTECTION,
    PERSISTENT_VOLUME_CLAIM: CLAIM_PROTECTION,
}


class StorageObjectInUseProtection(Plugin):
    """Adds the finalizer; controllers take it away when the object is out of use."""

    name = "StorageObjectInUseProtection"

    def handles(self, request: AdmissionRequest) -> bool:
        creates = request.operation is Operation.CREATE and not request.subresource
        return creates and request.gvk in _FINALIZERS

    async def mutate(self, request: AdmissionRequest) -> None:
        metadata = (request.obj or {}).get("metadata")
        if not isinstance(metadata, dict):
            return  # validation says so
        finalizers, wanted = metadata.get("finalizers") or [], _FINALIZERS[request.gvk]
        if isinstance(finalizers, list) and wanted not in finalizers:
            metadata["finalizers"] = [*finalizers, wanted]
