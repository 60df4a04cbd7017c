"""The ServiceCIDR `kubernetes`: what --service-cluster-ip-range says, and that it is ready.

Source: upstream's defaultservicecidr controller.
"""

from __future__ import annotations

import contextlib
from typing import Final

from apiserver.reader import Reader, Writer
from kubraft.api.errors import AlreadyExistsError
from kubraft.api.gvk import SERVICE_CIDR
from kubraft.api.object import Object

NAME: Final = "kubernetes"
READY: Final = "Kubernetes default Service CIDR is ready"


async def ensure_service_cidr(reader: Reader, writer: Writer, cidr: str, now: str) -> None:
    """Make it exist, and say that it is ready where it is the one of this server.

    Raises:
        ApiError: the store is away, or another server was faster.
    """
    found = reader.get(SERVICE_CIDR, "", NAME)
    if found is None:
        made: Object = {
            "apiVersion": SERVICE_CIDR.api_version,
            "kind": SERVICE_CIDR.kind,
            "metadata": {"name": NAME},
            "spec": {"cidrs": [cidr]},
        }
        with contextlib.suppress(AlreadyExistsError):
            found = await writer.create(made)
    if found is None or found["spec"]["cidrs"] != [cidr]:
        return  # another server's flags say something else
    conditions = (found.get("status") or {}).get("conditions") or []
    if any(each.get("type") == "Ready" for each in conditions):
        return
    condition = {"type": "Ready", "status": "True", "reason": "", "message": READY}
    condition["lastTransitionTime"] = now
    status = {"conditions": [*conditions, condition]}
    await writer.update({**found, "status": status}, "status")
