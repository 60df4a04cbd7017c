"""CPU and memory of a Pod that runs: what it asks for, what the node gives, what holds. Pure.

A resize changes what the spec asks for. The node gives it if there is room (`allocated`), and then
gives it to each container (`actual`), which takes a restart where the container says so.

Source: Kubernetes documentation, "Resize CPU and Memory Resources assigned to Containers".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.node.plan import Waiting
from kubraft.api.object import Object
from kubraft.api.pods import all_containers, pod_requests
from kubraft.api.quantity import Quantity, parse_quantity

Resources = dict[str, dict[str, str]]  # "requests" and "limits", by resource
_KINDS = ("limits", "requests")
_RESIZABLE = ("cpu", "memory")
DEFERRED, INFEASIBLE = "Deferred", "Infeasible"


@dataclass(slots=True)
class Allocation:
    """One Pod's."""

    allocated: dict[str, Resources] = field(default_factory=dict)  # by container
    actual: dict[str, Resources] = field(default_factory=dict)  # by container id
    pending: Waiting | None = None  # why the node does not give what is asked for
    error: str = ""  # why a container does not have what the node gives


def resources_of(container: Mapping[str, Any]) -> Resources:
    """What a container's spec asks for."""
    resources = container.get("resources") or {}
    return {kind: dict(resources[kind]) for kind in _KINDS if resources.get(kind)}


def declared(pod: Object) -> dict[str, Resources]:
    """What the spec asks for, by container."""
    return {c["name"]: resources_of(c) for c in all_containers(pod["spec"])}


def adopt(pod: Object, allocation: Allocation) -> None:
    """Begin with what the API last said of containers that run, else with the spec."""
    allocation.allocated = declared(pod)
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for shown in status.get(kind) or ():
            resources = shown.get("resources")
            if not resources or "running" not in (shown.get("state") or {}):
                continue
            container_id = (shown.get("containerID") or "").partition("://")[2]
            actual = resources_of(shown)
            allocation.actual[container_id] = actual
            given = {**actual, "requests": dict(shown.get("allocatedResources") or {})}
            allocation.allocated[shown["name"]] = {k: v for k, v in given.items() if v}


def allocate(
    pod: Object,
    allocation: Allocation,
    capacity: Mapping[str, Quantity],
    refuse: Callable[[Object], Waiting | None],
) -> None:
    """Give the Pod what its spec asks for, or say why not."""
    wanted = declared(pod)
    allocation.pending = None
    if _same(wanted, allocation.allocated):
        return
    for name, amount in pod_requests(pod).items():
        if name in _RESIZABLE and name in capacity and capacity[name] < amount:
            asked, there = _figure(name, amount), _figure(name, capacity[name])
            text = f"Node didn't have enough capacity: {name}, requested: {asked}, "
            allocation.pending = Waiting(INFEASIBLE, f"{text}capacity: {there}")
            return
    refused = refuse(pod)
    if refused is not None:
        allocation.pending = Waiting(DEFERRED, refused.message)
        return
    allocation.allocated = wanted


def with_allocation(pod: Object, allocation: Allocation) -> Object:
    """The Pod as this node runs it."""
    if not allocation.allocated or _same(declared(pod), allocation.allocated):
        return pod
    spec = dict(pod["spec"])
    for kind in ("initContainers", "containers"):
        if spec.get(kind):
            spec[kind] = [_given(c, allocation.allocated.get(c["name"])) for c in spec[kind]]
    return {**pod, "spec": spec}


def _given(container: dict[str, Any], resources: Resources | None) -> dict[str, Any]:
    return container if resources is None else {**container, "resources": resources}


def must_restart(container: Mapping[str, Any], actual: Resources) -> bool:
    """Whether going from `actual` to what the container is given takes a restart."""
    changed = _changed(resources_of(container), actual)
    return any(
        policy.get("resourceName") in changed and policy.get("restartPolicy") == "RestartContainer"
        for policy in container.get("resizePolicy") or ()
    )


def differs(container: Mapping[str, Any], actual: Resources) -> bool:
    """Whether a running container has something else than it is given."""
    return bool(_changed(resources_of(container), actual))


def _changed(new: Resources, old: Resources) -> set[str]:
    return {
        name
        for kind in _KINDS
        for name in _RESIZABLE
        if _amount(new, kind, name) != _amount(old, kind, name)
    }


def _amount(resources: Resources, kind: str, name: str) -> Quantity | None:
    text = resources.get(kind, {}).get(name)
    return None if text is None else parse_quantity(text)


def _same(one: Mapping[str, Resources], other: Mapping[str, Resources]) -> bool:
    return one.keys() == other.keys() and not any(
        _changed(resources, other[name]) for name, resources in one.items()
    )


def _figure(name: str, amount: Quantity) -> int:
    return amount.milli_value() if name == "cpu" else amount.value()


def resize_conditions(pod: Object, allocation: Allocation) -> list[dict[str, Any]]:
    """PodResizePending and PodResizeInProgress, as far as they are true."""
    generation = pod["metadata"].get("generation", 0)
    found = []
    if allocation.pending is not None:
        found.append(
            {
                "type": "PodResizePending",
                "reason": allocation.pending.reason,
                "message": allocation.pending.message,
            }
        )
    if allocation.error:
        error = {"reason": "Error", "message": allocation.error}
        found.append({"type": "PodResizeInProgress", **error})
    elif _in_progress(pod, allocation):
        found.append({"type": "PodResizeInProgress"})
    return [{"status": "True", "observedGeneration": generation, **c} for c in found]


def _in_progress(pod: Object, allocation: Allocation) -> bool:
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for shown in status.get(kind) or ():
            container_id = (shown.get("containerID") or "").partition("://")[2]
            actual = allocation.actual.get(container_id)
            given = allocation.allocated.get(shown["name"])
            running = "running" in (shown.get("state") or {})
            if running and actual is not None and given is not None and _changed(given, actual):
                return True
    return False
