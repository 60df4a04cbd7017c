"""Which Services want a load balancer, and what is written about it. Pure.

Source: k8s.io/cloud-provider, controllers/service; KEP-1860 (ipMode), KEP-1959 (loadBalancerClass).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agents.cloud.provider import Ingress
from kubraft.api.object import Object, is_terminating

FINALIZER: Final = "service.kubernetes.io/load-balancer-cleanup"
# What of a Service a load balancer depends on.
_FIELDS: Final = (
    *("ports", "loadBalancerIP", "loadBalancerSourceRanges", "sessionAffinity"),
    *("sessionAffinityConfig", "externalTrafficPolicy", "healthCheckNodePort", "clusterIP"),
)


def wants_balancer(service: Object) -> bool:
    """Whether it should have one of ours; a class of load balancers is somebody else's."""
    spec = service.get("spec") or {}
    if is_terminating(service) or spec.get("type") != "LoadBalancer":
        return False
    return not spec.get("loadBalancerClass")


def had_balancer(service: Object) -> bool:
    """Whether there may be one of ours that should go."""
    spec = service.get("spec") or {}
    if spec.get("type") == "LoadBalancer" and spec.get("loadBalancerClass"):
        return False
    return has_finalizer(service)


def has_finalizer(service: Object) -> bool:
    return FINALIZER in (service["metadata"].get("finalizers") or ())


def with_finalizer(service: Object) -> Object:
    found = service["metadata"].get("finalizers") or []
    return {**service, "metadata": {**service["metadata"], "finalizers": [*found, FINALIZER]}}


def without_finalizer(service: Object) -> Object:
    left = [each for each in service["metadata"].get("finalizers") or () if each != FINALIZER]
    return {**service, "metadata": {**service["metadata"], "finalizers": left}}


def wish(service: Object) -> dict[str, Any]:
    """All that a load balancer of the Service depends on."""
    spec = service.get("spec") or {}
    return {field: spec.get(field) for field in _FIELDS}


def ingress_of(service: Object) -> list[dict[str, Any]]:
    """`status.loadBalancer.ingress`, empty where absent."""
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    return balancer.get("ingress") or []


def ingress_status(found: Sequence[Ingress]) -> list[dict[str, Any]]:
    """The same, as it should be."""
    return [_entry(each) for each in found]


def _entry(ingress: Ingress) -> dict[str, Any]:
    if ingress.ip:
        return {"ip": ingress.ip, "ipMode": ingress.mode}
    return {"hostname": ingress.hostname}
