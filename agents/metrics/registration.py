"""Makes the API server know this server: the Service and the APIService."""

from __future__ import annotations

import base64
from typing import Final

from agents.metrics.views import GROUP, VERSION
from kubraft.api.errors import AlreadyExistsError, ApiError, NotFoundError
from kubraft.api.gvk import SERVICE, GroupVersionKind, gvk_of
from kubraft.api.object import Object
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.log import get_logger

NAMESPACE: Final = "kube-system"
NAME: Final = "metrics-server"
SERVER_NAME: Final = f"{NAME}.{NAMESPACE}.svc"
API_SERVICE: Final = GroupVersionKind("apiregistration.k8s.io", "v1", "APIService")
RETRY_S: Final = 1.0
_LABELS: Final = {"k8s-app": NAME}


def objects(host: str, port: int, authority: bytes) -> tuple[Object, Object]:
    """The Service and the APIService of a server at `host`; `authority` signs its certificate."""
    service = {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": _LABELS},
        "spec": {"type": "ExternalName", "externalName": host},
    }
    api_service = {
        "apiVersion": API_SERVICE.api_version,
        "kind": API_SERVICE.kind,
        "metadata": {"name": f"{VERSION}.{GROUP}", "labels": _LABELS},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": base64.b64encode(authority).decode(),
            "service": {"name": NAME, "namespace": NAMESPACE, "port": port},
        },
    }
    return service, api_service


async def register(client: ApiClient, clock: Clock, wanted: tuple[Object, ...]) -> None:
    """Make the objects as they should be, trying until they are."""
    log = get_logger("metrics.registration")
    for obj in wanted:
        while True:
            try:
                await _ensure(client, obj)
            except ApiError as error:
                log.warning("not_registered", kind=obj["kind"], cause=error.message)
                await clock.sleep(RETRY_S)
            else:
                break


async def _ensure(client: ApiClient, obj: Object) -> None:
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    try:
        found = await client.get(gvk_of(obj), metadata["name"], namespace)
    except NotFoundError:
        try:
            await client.create(obj)
        except AlreadyExistsError:
            return await _ensure(client, obj)
        return None
    spec = {**found["spec"], **obj["spec"]}
    if spec != found["spec"]:
        await client.update({**found, "spec": spec})
    return None
