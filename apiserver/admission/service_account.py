"""ServiceAccount: every Pod runs as one, and finds its token where clients look for it.

Source: upstream's plugin of that name (defaults, texts, the projected volume).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from apiserver.admission.node_restriction import MIRROR_POD
from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionContext, AdmissionRequest
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import SERVICE_ACCOUNT
from kubraft.api.names import generate_name
from kubraft.api.object import Object, ObjectKey, annotations_of, key_of
from kubraft.api.pods import all_containers

DEFAULT_NAME: Final = "default"
MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX: Final = "kube-api-access-"
ROOT_CA_CONFIG_MAP: Final = "kube-root-ca.crt"

# An hour and a little, so that the agent's refresh at 80% does not meet the hour. Upstream's value.
TOKEN_EXPIRATION_S: Final = 3_607

# How long a Pod waits for the default account of a new namespace, which a controller makes.
DEFAULT_ACCOUNT_WAIT_S: Final = 2.0


class ServiceAccount(Plugin):
    """Completes new Pods: account, token volume and mounts, image pull secrets."""

    name = "ServiceAccount"

    def __init__(self, context: AdmissionContext) -> None:
        self._reader = context.reader
        self._writer = context.writer
        self._rng = context.rng
        self._waiting: dict[ObjectKey, asyncio.Future[None]] = {}
        context.reader.add_handler(SERVICE_ACCOUNT, self._on_change)

    def handles(self, request: AdmissionRequest) -> bool:
        return request.creates_pod

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.obj or {}
        spec = pod.get("spec")
        if not isinstance(spec, dict) or MIRROR_POD in annotations_of(pod):
            return
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = spec.get("serviceAccount") or DEFAULT_NAME
        spec["serviceAccount"] = spec["serviceAccountName"]
        account = await self._account(request, spec["serviceAccountName"])
        if _automount(spec, account):
            mount_token(spec, generate_name(VOLUME_PREFIX, self._rng))
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(ref) for ref in account["imagePullSecrets"]]

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.obj or {}
        spec = pod.get("spec") or {}
        if MIRROR_POD in annotations_of(pod):
            if spec.get("serviceAccountName"):
                raise request.forbidden("a mirror pod may not reference service accounts")
        elif spec.get("serviceAccountName"):
            await self._account(request, spec["serviceAccountName"])
        else:
            raise request.forbidden(
                f"no service account specified for pod {request.namespace}/{request.shown_name}"
            )

    async def _account(self, request: AdmissionRequest, name: str) -> Object:
        namespace = request.namespace
        account = self._reader.get(SERVICE_ACCOUNT, namespace, name)
        if account is not None:
            return account
        try:
            return await self._writer.get(SERVICE_ACCOUNT, namespace, name)
        except NotFoundError:
            if name == DEFAULT_NAME:
                account = await self._wait_for(ObjectKey(namespace, name))
        if account is None:
            raise request.forbidden(
                f"error looking up service account {namespace}/{name}: "
                f'serviceaccount "{name}" not found'
            )
        return account

    async def _wait_for(self, key: ObjectKey) -> Object | None:
        future = self._waiting.get(key)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._waiting[key] = future
        try:
            async with asyncio.timeout(DEFAULT_ACCOUNT_WAIT_S):
                await asyncio.shield(future)
        except TimeoutError:
            self._waiting.pop(key, None)
        return self._reader.get(SERVICE_ACCOUNT, key.namespace, key.name)

    def _on_change(self, _old: Object | None, new: Object | None) -> None:
        future = self._waiting.pop(key_of(new), None) if new is not None and self._waiting else None
        if future is not None and not future.done():
            future.set_result(None)


def _automount(spec: dict[str, Any], account: Object) -> bool:
    """The Pod's word goes before the account's; unsaid means yes."""
    for source in (spec, account):
        wanted = source.get("automountServiceAccountToken")
        if wanted is not None:
            return bool(wanted)
    return True


def mount_token(spec: dict[str, Any], volume_name: str) -> None:
    """Mount the API access volume into each container that has nothing else at its place."""
    volumes = spec.get("volumes") or []
    existing = [v.get("name", "") for v in volumes if isinstance(v, dict)]
    name = next((n for n in existing if n.startswith(VOLUME_PREFIX)), volume_name)
    mounted = False
    for container in all_containers(spec):
        mounts = container.get("volumeMounts") or []
        if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
            continue
        mount = {"mountPath": MOUNT_PATH, "name": name, "readOnly": True}
        container["volumeMounts"] = [*mounts, mount]
        mounted = True
    if mounted and name not in existing:
        spec["volumes"] = [*volumes, {"name": name, "projected": api_access_sources()}]


def api_access_sources() -> dict[str, Any]:
    """The projected volume: token, the cluster's CA and the Pod's namespace."""
    return {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_EXPIRATION_S, "path": "token"}},
            {
                "configMap": {
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    "name": ROOT_CA_CONFIG_MAP,
                }
            },
            {
                "downwardAPI": {
                    "items": [
                        {
                            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                            "path": "namespace",
                        }
                    ]
                }
            },
        ],
    }
