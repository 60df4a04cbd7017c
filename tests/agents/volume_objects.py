"""Claims, volumes and classes for tests of what binds them."""

from __future__ import annotations

from typing import Any

from kubraft.api import storage
from kubraft.api.object import Object

BOUND = {storage.BIND_COMPLETED: "yes", storage.BOUND_BY_CONTROLLER: "yes"}


def claim(name: str = "data", size: str = "1Gi", **more: Any) -> Object:
    """`more`: fields of the spec, and `annotations`, `phase`, `uid`, `version`, `finalizers`."""
    metadata: dict[str, Any] = {
        "namespace": "default",
        "name": name,
        "uid": more.pop("uid", f"uid-{name}"),
        "resourceVersion": more.pop("version", "1"),
        "annotations": more.pop("annotations", {}),
    }
    for part in ("finalizers", "deletionTimestamp", "ownerReferences"):
        if part in more:
            metadata[part] = more.pop(part)
    status = {"phase": more.pop("phase", "Pending"), **more.pop("status", {})}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "volumeMode": "Filesystem",
        "storageClassName": "slow",
        **more,
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": {k: v for k, v in spec.items() if v is not None},
        "status": status,
    }


def volume(name: str = "disk", size: str = "1Gi", **more: Any) -> Object:
    """`more`: fields of the spec, and `annotations`, `labels`, `phase`, `node` (it is there)."""
    metadata: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "annotations": more.pop("annotations", {}),
        "labels": more.pop("labels", {}),
    }
    for part in ("finalizers", "deletionTimestamp"):
        if part in more:
            metadata[part] = more.pop(part)
    status = {"phase": more.pop("phase", "Available")}
    if node := more.pop("node", ""):
        expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
        terms = [{"matchExpressions": [expression]}]
        more["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": size},
        "volumeMode": "Filesystem",
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "slow",
        **more,
    }
    if not spec.keys() & {"csi", "local"}:
        spec["hostPath"] = {"path": "/disk"}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def storage_class(name: str = "slow", provisioner: str = "example.com/disk", **more: Any) -> Object:
    """`default=True` marks it; the rest are its fields."""
    annotations = {storage.DEFAULT_CLASS: "true"} if more.pop("default", False) else {}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": annotations},
        "provisioner": provisioner,
        "volumeBindingMode": "Immediate",
        **more,
    }


def given(to: Object, **more: Any) -> dict[str, Any]:
    """A claimRef."""
    return {**storage.reference_to(to), **more}
