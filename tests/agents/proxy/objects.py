"""Services and EndpointSlices, as short as a test wants them."""

from __future__ import annotations

from typing import Any

from kubraft.api.object import Object


def service(name: str = "web", created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Object:
    """A Service in `default` with one port 80; a cluster address where none is given."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "creationTimestamp": created,
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "127.160.0.9",
            "ports": [{"port": 80, "protocol": "TCP"}],
            **spec,
        },
    }


def slice_of(
    service_name: str, *endpoints: Object, ports: tuple[Object, ...] = (), **fields: Any
) -> Object:
    """An EndpointSlice of that Service, on port 8080 where no ports are given."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service_name}-x",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service_name},
        },
        "addressType": "IPv4",
        "ports": list(ports) or [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints),
        **fields,
    }


def endpoint(address: str, **conditions: bool) -> Object:
    return {"addresses": [address], "conditions": conditions or {"ready": True}}
