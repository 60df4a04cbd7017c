"""What objects use of a ResourceQuota: the same sums for admission and for the controller.

    pods, requests.cpu, cpu, limits.memory, requests.nvidia.com/gpu, ...  of Pods not ended
    configmaps, secrets, services, services.nodeports, ...                 counts of some kinds
    count/deployments.apps, count/pods                                     counts of any kind

Source: Kubernetes documentation, "Resource Quotas" (names, scopes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubraft.api.gvk import (
    CONFIG_MAP,
    POD,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE,
    GroupVersionKind,
    gvk_of,
)
from kubraft.api.labels import requirement_from_object
from kubraft.api.object import Object
from kubraft.api.pods import Resources, is_terminated, pod_limits, pod_requests, qos_class
from kubraft.api.quantity import ZERO, from_units, parse_quantity

# Kinds that may also be counted by their plural alone.
_PLAIN_COUNTS: Mapping[GroupVersionKind, str] = {
    CONFIG_MAP: "configmaps",
    SECRET: "secrets",
    SERVICE: "services",
    RESOURCE_QUOTA: "resourcequotas",
    GroupVersionKind("", "v1", "ReplicationController"): "replicationcontrollers",
    GroupVersionKind("", "v1", "PersistentVolumeClaim"): "persistentvolumeclaims",
}
# Requests of these may also be bounded without the prefix "requests.".
_SHORT_REQUESTS = ("cpu", "memory", "ephemeral-storage")
_ONE = from_units(1)


def count_name(plural: str, group: str) -> str:
    """The name that counts any kind: "count/pods", "count/deployments.apps"."""
    return f"count/{plural}.{group}" if group else f"count/{plural}"


def object_usage(obj: Object, plural: str) -> Resources:
    """What `obj`, of the kind with that plural, uses of any quota, by name.

    Args:
        obj: as stored or about to be.
        plural: of its kind, "deployments".
    """
    gvk = gvk_of(obj)
    usage: Resources = {count_name(plural, gvk.group): _ONE}
    if gvk == POD:
        usage |= pod_usage(obj)
    elif gvk == SERVICE:
        usage |= _service_usage(obj)
    elif plain := _PLAIN_COUNTS.get(gvk):
        usage[plain] = _ONE
    return usage


def pod_usage(pod: Object) -> Resources:
    """What a Pod that has not ended uses; nothing but its count once it has."""
    if is_terminated(pod):
        return {}
    usage: Resources = {"pods": _ONE}
    for name, amount in pod_requests(pod).items():
        usage[f"requests.{name}"] = amount
        if name in _SHORT_REQUESTS:
            usage[name] = amount
    for name, amount in pod_limits(pod).items():
        usage[f"limits.{name}"] = amount
    return usage


def in_scope(quota: Object, obj: Object) -> bool:
    """Whether `quota` counts `obj`: all its scopes match. Kinds other than Pod have no scopes."""
    spec = quota.get("spec") or {}
    expressions = list((spec.get("scopeSelector") or {}).get("matchExpressions") or ())
    expressions += [{"scopeName": s, "operator": "Exists"} for s in spec.get("scopes") or ()]
    if not expressions:
        return True
    return gvk_of(obj) == POD and all(_matches(expression, obj) for expression in expressions)


def total_usage(quota: Object, objects: Iterable[tuple[Object, str]]) -> Resources:
    """How much of each name in `spec.hard` the objects, each with its plural, use; 0 where none."""
    total: Resources = dict.fromkeys((quota.get("spec") or {}).get("hard") or {}, ZERO)
    for obj, plural in objects:
        if not in_scope(quota, obj):
            continue
        for name, amount in object_usage(obj, plural).items():
            if name in total:
                total[name] = total[name] + amount
    return total


def status_of(quota: Object, used: Resources) -> dict[str, Any]:
    """The quota's status: what is allowed and how much is used, as the API writes it."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    return {
        "hard": {name: str(parse_quantity(limit)) for name, limit in hard.items()},
        "used": {name: str(used.get(name, ZERO)) for name in hard},
    }


def _service_usage(service: Object) -> Resources:
    spec = service.get("spec") or {}
    usage: Resources = {"services": _ONE}
    type_, ports = spec.get("type", "ClusterIP"), spec.get("ports") or ()
    if type_ == "LoadBalancer":
        usage["services.loadbalancers"] = _ONE
        if spec.get("allocateLoadBalancerNodePorts") is False:
            ports = [port for port in ports if port.get("nodePort")]
    if type_ in ("NodePort", "LoadBalancer") and ports:
        usage["services.nodeports"] = from_units(len(ports))
    return usage


def _matches(expression: Mapping[str, Any], pod: Object) -> bool:
    spec = pod.get("spec") or {}
    match expression["scopeName"]:
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return qos_class(pod) == "BestEffort"
        case "NotBestEffort":
            return qos_class(pod) != "BestEffort"
        case "PriorityClass":
            name = spec.get("priorityClassName")
            requirement = requirement_from_object({**expression, "key": "priority-class"})
            return requirement.matches({"priority-class": name} if name else {})
        case "CrossNamespacePodAffinity":
            return _affects_other_namespaces(spec.get("affinity") or {})
    return False


def _affects_other_namespaces(affinity: Mapping[str, Any]) -> bool:
    for part in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(part) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [weighted.get("podAffinityTerm") or {} for weighted in preferred]
        if any(t.get("namespaces") or t.get("namespaceSelector") is not None for t in terms):
            return True
    return False
