"""Endpoints and EndpointSlices against the real API server on a real etcd."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.gvk import ENDPOINT_SLICE, ENDPOINTS, SERVICE
from kubraft.api.object import Object, labels_of
from tests.agents.controllers.cluster import Cluster
from tests.harness.eventually import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("controllers")]


async def _service(cluster: Cluster, **spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return await cluster.client.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": cluster.namespace, "labels": {"a": "b"}},
            "spec": {"ports": ports, **spec},
        }
    )


def _ready(cluster: Cluster) -> list[str]:
    """The names of the Pods that slices say are ready."""
    return sorted(
        endpoint["targetRef"]["name"]
        for obj in cluster.of(ENDPOINT_SLICE)
        for endpoint in obj.get("endpoints") or ()
        if endpoint["conditions"]["ready"]
    )


def _addresses(cluster: Cluster) -> int:
    subsets = (cluster.get(ENDPOINTS, "web") or {}).get("subsets") or ()
    return sum(len(subset.get("addresses") or ()) for subset in subsets)


async def test_a_service_has_the_endpoints_of_its_pods(cluster: Cluster) -> None:
    await _service(cluster, selector={"app": "web"})
    await eventually(lambda: len(cluster.of(ENDPOINT_SLICE)) == 1)
    await cluster.deploy(replicas=3)
    await eventually(lambda: _addresses(cluster) == 3 and len(_ready(cluster)) == 3)
    (obj,) = cluster.of(ENDPOINT_SLICE)
    assert labels_of(obj) == {
        "a": "b",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert obj["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    await cluster.patch_spec({"replicas": 1})
    await eventually(lambda: _addresses(cluster) == 1 and len(_ready(cluster)) == 1)
    # What somebody spoils is put right, and what is wanted no longer goes with the Service.
    await cluster.client.delete(ENDPOINT_SLICE, obj["metadata"]["name"], cluster.namespace)
    await eventually(lambda: len(_ready(cluster)) == 1)
    await cluster.client.delete(SERVICE, "web", cluster.namespace)
    await eventually(lambda: not cluster.of(ENDPOINT_SLICE) and not cluster.of(ENDPOINTS))


async def test_endpoints_that_somebody_writes_are_mirrored(cluster: Cluster) -> None:
    await _service(cluster)
    written = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "web", "namespace": cluster.namespace},
        "subsets": [{"addresses": [{"ip": "10.9.8.7"}], "ports": [{"name": "http", "port": 9}]}],
    }
    await cluster.client.create(written)
    await eventually(lambda: len(cluster.of(ENDPOINT_SLICE)) == 1)
    (obj,) = cluster.of(ENDPOINT_SLICE)
    assert obj["endpoints"] == [{"addresses": ["10.9.8.7"], "conditions": {"ready": True}}]
    assert obj["ports"] == [{"name": "http", "port": 9, "protocol": "TCP"}]
    await cluster.client.delete(ENDPOINTS, "web", cluster.namespace)
    await eventually(lambda: not cluster.of(ENDPOINT_SLICE))
