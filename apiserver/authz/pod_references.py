"""Which other objects a Pod needs, as far as its node must read them.

Source: Kubernetes core/v1 PodSpec; Kubernetes documentation, "Using Node Authorization".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kubraft.api.object import Object


class Reference(NamedTuple):
    """An object in the Pod's namespace; `resource` is the plural."""

    resource: str
    namespace: str
    name: str


def references_of(pod: Object) -> frozenset[Reference]:
    """The Pod itself and its Secrets, ConfigMaps, claims of both kinds and ServiceAccount."""
    namespace = pod["metadata"].get("namespace", "")
    spec = pod.get("spec") or {}
    found = {("pods", pod["metadata"]["name"]), ("serviceaccounts", spec.get("serviceAccountName"))}
    found.update(("secrets", ref.get("name")) for ref in spec.get("imagePullSecrets") or ())
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            found.update(_of_environment(container))
    for volume in spec.get("volumes") or ():
        found.update(_of_volume(volume))
        if volume.get("ephemeral") is not None:
            claim = f"{pod['metadata']['name']}-{volume.get('name', '')}"
            found.add(("persistentvolumeclaims", claim))
    found.update(_of_claims(pod))
    return frozenset(Reference(resource, namespace, name) for resource, name in found if name)


def _of_claims(pod: Object) -> Iterator[tuple[str, str | None]]:
    """Of devices: named by the Pod, or made for it."""
    for claim in (pod.get("spec") or {}).get("resourceClaims") or ():
        yield "resourceclaims", claim.get("resourceClaimName")
    status = pod.get("status") or {}
    for made in status.get("resourceClaimStatuses") or ():
        yield "resourceclaims", made.get("resourceClaimName")
    extended = status.get("extendedResourceClaimStatus") or {}
    yield "resourceclaims", extended.get("resourceClaimName")


def _of_environment(container: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield "secrets", (source.get("secretKeyRef") or {}).get("name")
        yield "configmaps", (source.get("configMapKeyRef") or {}).get("name")
    for source in container.get("envFrom") or ():
        yield "secrets", (source.get("secretRef") or {}).get("name")
        yield "configmaps", (source.get("configMapRef") or {}).get("name")


def _of_volume(volume: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    yield "secrets", (volume.get("secret") or {}).get("secretName")
    yield "configmaps", (volume.get("configMap") or {}).get("name")
    yield "persistentvolumeclaims", (volume.get("persistentVolumeClaim") or {}).get("claimName")
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield "secrets", (source.get("secret") or {}).get("name")
        yield "configmaps", (source.get("configMap") or {}).get("name")
    yield "secrets", (volume.get("azureFile") or {}).get("secretName")
    for source in volume.values():
        if isinstance(source, dict):
            for field in ("secretRef", "nodePublishSecretRef"):
                yield "secrets", (source.get(field) or {}).get("name")
