"""Claims and volumes begin protected."""

from __future__ import annotations

import pytest

from apiserver.admission.storage_protection import StorageObjectInUseProtection
from tests.apiserver.admission.requests import request
from tests.apiserver.objects import cluster_scoped, namespaced


@pytest.mark.parametrize(
    ("kind", "finalizer"),
    [
        ("PersistentVolumeClaim", "kubernetes.io/pvc-protection"),
        ("PersistentVolume", "kubernetes.io/pv-protection"),
    ],
)
async def test_the_finalizer_is_there_once(kind: str, finalizer: str) -> None:
    plugin = StorageObjectInUseProtection()
    make = namespaced if kind == "PersistentVolumeClaim" else cluster_scoped
    for given, finalizers in (
        ([], [finalizer]),
        (["a"], ["a", finalizer]),
        ([finalizer], [finalizer]),
    ):
        asked = request(make(kind, "data", metadata={"finalizers": given}))
        assert plugin.handles(asked)
        await plugin.mutate(asked)
        assert asked.obj is not None
        assert asked.obj["metadata"]["finalizers"] == finalizers
    assert not plugin.handles(request(make(kind, "data"), old=make(kind, "data")))
    assert not plugin.handles(request(namespaced("Pod", "web")))
