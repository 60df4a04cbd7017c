"""Readings of a Pod that several programs need: what it asks for, whether it is ready or over.

Source: Kubernetes documentation, "Pod Lifecycle", "Init Containers", "Sidecar Containers",
"Pod Overhead", "Pod Quality of Service Classes".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from kubraft.api.conditions import conditions_of, find_condition
from kubraft.api.object import Object, is_terminating
from kubraft.api.quantity import Quantity, parse_quantity
from kubraft.api.time import parse_time

DEFAULT_SCHEDULER = "default-scheduler"

Resources = dict[str, Quantity]


def phase_of(pod: Object) -> str:
    """`status.phase`; "Pending" before anybody has written it."""
    phase: str = (pod.get("status") or {}).get("phase") or "Pending"
    return phase


def node_of(pod: Object) -> str:
    """The node it is bound to, or ""."""
    name: str = (pod.get("spec") or {}).get("nodeName") or ""
    return name


def is_terminated(pod: Object) -> bool:
    """Whether its containers have ended for good: phase Succeeded or Failed."""
    return phase_of(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Whether it counts as a replica: not ended, and not being deleted."""
    return not is_terminated(pod) and not is_terminating(pod)


def is_pod_ready(pod: Object) -> bool:
    """Whether condition Ready is "True"."""
    condition = find_condition(conditions_of(pod), "Ready")
    return condition is not None and condition.get("status") == "True"


def ready_since(pod: Object) -> datetime | None:
    """When condition Ready became "True"; None while it is not."""
    condition = find_condition(conditions_of(pod), "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    moment = condition.get("lastTransitionTime")
    return parse_time(moment) if moment else None


def is_pod_available(pod: Object, min_ready_s: int, now: datetime) -> bool:
    """Whether it has been ready for at least `min_ready_s` seconds."""
    if not is_pod_ready(pod):
        return False
    if min_ready_s <= 0:
        return True
    since = ready_since(pod)
    return since is not None and since + timedelta(seconds=min_ready_s) <= now


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Whether an init container goes on running beside the others (restartPolicy Always)."""
    return container.get("restartPolicy") == "Always"


def pod_requests(pod: Object) -> Resources:
    """What a node must have free for it: the requests in force, overhead included.

    Containers add up; init containers run one after another, so only the largest counts, each
    together with the sidecars started before it. Requests at the Pod's level replace the sum.
    """
    return _effective(pod["spec"], "requests")


def pod_limits(pod: Object) -> Resources:
    """What it may use at most, where limits are set."""
    return _effective(pod["spec"], "limits")


def _effective(spec: Mapping[str, Any], kind: str) -> Resources:
    total: Resources = {}
    for container in spec.get("containers") or ():
        _add(total, container_resources(container, kind))
    sidecars: Resources = {}
    peak: Resources = {}
    for container in spec.get("initContainers") or ():
        own = container_resources(container, kind)
        if is_sidecar(container):
            _add(total, own)
            _add(sidecars, own)
            _raise_to(peak, sidecars)
        else:
            _add(own, sidecars)
            _raise_to(peak, own)
    _raise_to(total, peak)
    total.update(container_resources(spec, kind))
    for name, text in (spec.get("overhead") or {}).items():
        if kind == "requests" or name in total:
            _add(total, {name: parse_quantity(text)})
    return total


def container_resources(container: Mapping[str, Any], kind: str) -> Resources:
    """`resources.requests` or `resources.limits` of one container, as a new dictionary."""
    amounts = (container.get("resources") or {}).get(kind) or {}
    return {name: parse_quantity(text) for name, text in amounts.items()}


def _add(total: Resources, other: Resources) -> None:
    for name, amount in other.items():
        total[name] = total[name] + amount if name in total else amount


def _raise_to(total: Resources, other: Resources) -> None:
    for name, amount in other.items():
        if name not in total or total[name] < amount:
            total[name] = amount


def qos_class(pod: Object) -> str:
    """Who is evicted last under pressure: "Guaranteed", then "Burstable", then "BestEffort"."""
    spec = pod["spec"]
    parts = [spec] if spec.get("resources") else list(all_containers(spec))
    if not any(_computing(p, "requests") or _computing(p, "limits") for p in parts):
        return "BestEffort"
    return "Guaranteed" if all(map(_is_guaranteed, parts)) else "Burstable"


def all_containers(spec: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Init containers and containers, in the order in which they start."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def _computing(container: Mapping[str, Any], kind: str) -> Resources:
    amounts = container_resources(container, kind)
    return {n: amount for n, amount in amounts.items() if n in ("cpu", "memory") and amount}


def _is_guaranteed(container: Mapping[str, Any]) -> bool:
    limits = _computing(container, "limits")
    requests = {**limits, **_computing(container, "requests")}
    return len(limits) == 2 and requests == limits
