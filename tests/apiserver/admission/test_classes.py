"""Plugins that complete objects by classes and nodes, and judge what they may become."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.admission.claim_resize import PersistentVolumeClaimResize
from apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from apiserver.admission.pod_topology_labels import PodTopologyLabels
from apiserver.admission.runtime_class import RuntimeClass
from kubraft.api.errors import ForbiddenError
from kubraft.api.object import Object
from tests.apiserver.admission.requests import context, request
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import cluster_scoped, namespaced


def _class(kind: str, api_version: str, name: str, created: str = "", **fields: Any) -> Object:
    made = cluster_scoped(kind, name, **fields)
    made["apiVersion"] = api_version
    if created:
        made["metadata"]["creationTimestamp"] = created
        made["metadata"]["annotations"] = {f"{kind.lower()}.kubernetes.io/is-default-class": "true"}
    return made


def _storage(name: str, created: str = "", **fields: Any) -> Object:
    return _class("StorageClass", "storage.k8s.io/v1", name, created, **fields)


def _claim(size: str = "1Gi", phase: str = "Bound", **spec: Any) -> Object:
    storage = {"resources": {"requests": {"storage": size}}}
    fields: dict[str, Any] = {"spec": {**storage, **spec}, "status": {"phase": phase}}
    return namespaced("PersistentVolumeClaim", "data", **fields)


@pytest.mark.parametrize(
    ("claim", "name"),
    [
        (_claim(), "young"),
        (_claim(storageClassName=""), ""),
        (_claim(storageClassName="old"), "old"),
    ],
)
async def test_a_claim_gets_the_youngest_default_class(claim: Object, name: str) -> None:
    cluster = MemoryCluster(
        _storage("old", "2026-01-01T00:00:00Z"),
        _storage("young", "2026-01-02T00:00:00Z"),
        _storage("plain"),
    )
    asked = request(claim)
    plugin = DefaultStorageClass(context(cluster))
    assert plugin.handles(asked)
    await plugin.mutate(asked)
    assert asked.obj is not None
    assert asked.obj["spec"]["storageClassName"] == name


async def test_an_ingress_gets_the_default_class() -> None:
    cluster = MemoryCluster(
        _class("IngressClass", "networking.k8s.io/v1", "front", "2026-01-01T00:00:00Z")
    )
    ingress = namespaced("Ingress", "web", spec={})
    ingress["apiVersion"] = "networking.k8s.io/v1"
    asked = request(ingress)
    plugin = DefaultIngressClass(context(cluster))
    assert plugin.handles(asked)
    await plugin.mutate(asked)
    assert asked.obj is not None
    assert asked.obj["spec"] == {"ingressClassName": "front"}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (_claim(storageClassName="grows"), _claim("2Gi", storageClassName="grows"), ""),
        (_claim(storageClassName="fixed"), _claim("1Gi", storageClassName="fixed"), ""),
        (
            _claim(storageClassName="fixed"),
            _claim("2Gi", storageClassName="fixed"),
            "only dynamically provisioned pvc can be resized",
        ),
        (
            _claim(phase="Pending", storageClassName="grows"),
            _claim("2Gi", storageClassName="grows"),
            "Only bound persistent volume claims can be expanded",
        ),
    ],
)
async def test_claims_grow_where_their_class_allows_it(old: Object, new: Object, why: str) -> None:
    cluster = MemoryCluster(_storage("grows", allowVolumeExpansion=True), _storage("fixed"))
    plugin, asked = PersistentVolumeClaimResize(context(cluster)), request(new, old=old)
    assert plugin.handles(asked)
    if why:
        with pytest.raises(ForbiddenError, match=why):
            await plugin.validate(asked)
    else:
        await plugin.validate(asked)


_RUNTIME = _class(
    "RuntimeClass",
    "node.k8s.io/v1",
    "vm",
    handler="vm",
    overhead={"podFixed": {"cpu": "100m"}},
    scheduling={"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm"}]},
)


async def test_a_runtime_class_is_written_into_its_pods() -> None:
    plugin = RuntimeClass(context(MemoryCluster(_RUNTIME)))
    spec = {"runtimeClassName": "vm", "nodeSelector": {"a": "b"}, "overhead": {"cpu": "0.1"}}
    asked = request(namespaced("Pod", "web", spec=spec))
    assert plugin.handles(asked)
    await plugin.mutate(asked)
    await plugin.validate(asked)
    assert asked.obj is not None
    assert asked.obj["spec"] == {
        "runtimeClassName": "vm",
        "overhead": {"cpu": "100m"},
        "nodeSelector": {"a": "b", "vm": "yes"},
        "tolerations": [{"key": "vm"}],
    }


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"runtimeClassName": "none"}, 'pod rejected: RuntimeClass "none" not found'),
        ({"runtimeClassName": "vm", "overhead": {"cpu": "2"}}, "doesn't match RuntimeClass's"),
        ({"overhead": {"cpu": "2"}}, "Pod Overhead set without corresponding RuntimeClass"),
        (
            {"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}},
            r"conflict: runtimeClass.scheduling.nodeSelector\[vm\] = yes",
        ),
    ],
)
async def test_what_contradicts_a_runtime_class_is_refused(spec: dict[str, Any], why: str) -> None:
    plugin = RuntimeClass(context(MemoryCluster(_RUNTIME)))
    asked = request(namespaced("Pod", "web", spec=spec))
    assert plugin.handles(asked)

    async def both() -> None:
        await plugin.mutate(asked)
        await plugin.validate(asked)

    with pytest.raises(ForbiddenError, match=why):
        await both()


async def test_a_binding_takes_over_the_places_of_its_node() -> None:
    labels = {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "x": "y"}
    plugin = PodTopologyLabels(
        context(MemoryCluster(cluster_scoped("Node", "n", metadata={"labels": labels})))
    )
    binding = namespaced("Binding", "web", target={"kind": "Node", "name": "n"})
    asked = request(binding, resource="pods", subresource="binding")
    assert plugin.handles(asked)
    await plugin.mutate(asked)
    assert asked.obj is not None
    del labels["x"]
    assert asked.obj["metadata"]["labels"] == labels
