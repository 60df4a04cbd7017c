"""What two subresources may change of a Pod: ephemeralcontainers, which adds, and resize.

Source: Kubernetes documentation, "Ephemeral Containers", "Resize CPU and Memory Resources assigned
to Containers"; texts of upstream's validation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from apiserver.registry.causes import forbidden, invalid
from kubraft.api.errors import Cause
from kubraft.api.object import Object
from kubraft.api.pods import is_sidecar, qos_class

Json = dict[str, Any]

EPHEMERAL: Final = "ephemeralcontainers"
RESIZE: Final = "resize"
_MIRROR: Final = "kubernetes.io/config.mirror"
_MUTABLE: Final = ("cpu", "memory")


def prepare_ephemeral(new: Object, old: Object) -> None:
    """Leave everything but the ephemeral containers as it was."""
    added = new["spec"].get("ephemeralContainers")
    _keep(new, old)
    new["spec"] = _with(old["spec"], "ephemeralContainers", added)


def prepare_resize(new: Object, old: Object) -> None:
    """Leave everything but the containers' resources as it was; other lists are refused later."""
    lists: dict[str, Any] = {}
    for kind in ("containers", "initContainers"):
        after, before = new["spec"].get(kind) or [], old["spec"].get(kind) or []
        if len(after) != len(before):
            return
        lists[kind] = _resized(after, before)
    resources = new["spec"].get("resources")
    _keep(new, old)
    spec = _with(old["spec"], "resources", resources)
    for kind, found in lists.items():
        spec = _with(spec, kind, found)
    new["spec"] = spec


def _keep(new: Object, old: Object) -> None:
    """Take over what both leave alone: the status, and what of the metadata is not theirs."""
    if "status" in old:
        new["status"] = old["status"]
    else:
        new.pop("status", None)
    for field in ("deletionTimestamp", "ownerReferences", "labels", "annotations", "finalizers"):
        metadata = _with(new["metadata"], field, old["metadata"].get(field))
        new["metadata"] = metadata


def _with(part: Json, name: str, value: Any) -> Json:
    made = {key: kept for key, kept in part.items() if key != name}
    return {**made, name: value} if value else made


def _resized(after: Sequence[Json], before: Sequence[Json]) -> list[Json]:
    if [c.get("name") for c in after] != [c.get("name") for c in before]:
        return list(after)
    made = []
    for new, old in zip(after, before, strict=True):
        merged = {**old, "resources": new.get("resources") or {}}
        merged.pop("resizePolicy", None)
        if policy := new.get("resizePolicy"):
            merged["resizePolicy"] = policy
        made.append(merged)
    return made


def validate_ephemeral(new: Object, old: Object) -> list[Cause]:
    """Rules on an update of the ephemeral containers: they may only be added."""
    if _MIRROR in (old["metadata"].get("annotations") or {}):
        return [forbidden("", "static pods do not support ephemeral containers")]
    after = {c.get("name"): c for c in new["spec"].get("ephemeralContainers") or ()}
    causes: list[Cause] = []
    for container in old["spec"].get("ephemeralContainers") or ():
        name = container["name"]
        if name not in after:
            why = f'existing ephemeral containers "{name}" may not be removed\n'
            causes.append(forbidden("spec.ephemeralContainers", why))
        elif after[name] != container:
            why = f'existing ephemeral containers "{name}" may not be changed\n'
            causes.append(forbidden("spec.ephemeralContainers", why))
    return causes


def validate_resize(new: Object, old: Object) -> list[Cause]:
    """Rules on a resize: CPU and memory of containers that may go on running with others."""
    spec, before = new["spec"], old["spec"]
    if why := _unresizable(spec, old):
        return [forbidden("", why)]
    causes: list[Cause] = []
    for kind in ("containers", "initContainers"):
        causes += _same_containers(spec.get(kind) or (), before.get(kind) or (), f"spec.{kind}")
    if causes:
        return causes
    if (was := (old.get("status") or {}).get("qosClass") or qos_class(old)) != qos_class(new):
        rule = "Pod QOS Class may not change as a result of resizing"
        causes.append(invalid("spec", was, rule))
    if not _node_can(old):
        causes.append(forbidden("spec", "Pod running on node without support for resize"))
    for index, container in enumerate(spec.get("initContainers") or ()):
        former = before["initContainers"][index]
        if not is_sidecar(container):
            if container != former:
                rule = "resources for non-sidecar init containers are immutable"
                causes.append(forbidden("spec", rule))
            continue
        causes += _removed(container, former, f"spec.initContainers[{index}].resources")
        if _fixed(container, former) != former:
            rule = "only cpu and memory resources for sidecar containers are mutable"
            causes.append(forbidden("spec", rule))
    for index, container in enumerate(spec["containers"]):
        former = before["containers"][index]
        causes += _removed(container, former, f"spec.containers[{index}].resources")
        if _fixed(container, former) != former:
            causes.append(forbidden("spec", "only cpu and memory resources are mutable"))
    return causes


def _unresizable(spec: Json, old: Object) -> str:
    """Why no resize of this Pod is possible; empty where it is."""
    if any(amounts for part in (spec, old["spec"]) for amounts in _of_pod(part)):
        return "pods with pod-level resources cannot be resized"
    if _MIRROR in (old["metadata"].get("annotations") or {}):
        return "static pods cannot be resized"
    if (old["spec"].get("os") or {}).get("name") == "windows":
        return "windows pods cannot be resized"
    return ""


def _of_pod(spec: Json) -> list[Any]:
    resources = spec.get("resources") or {}
    return [resources.get("requests"), resources.get("limits")]


def _same_containers(after: Sequence[Json], before: Sequence[Json], path: str) -> list[Cause]:
    if len(after) != len(before):
        return [forbidden(path, "containers may not be added or removed on resize")]
    rule = "containers may not be renamed or reordered on resize"
    return [
        forbidden(f"{path}[{index}].name", rule)
        for index, (new, old) in enumerate(zip(after, before, strict=True))
        if new.get("name") != old.get("name")
    ]


def _node_can(pod: Object) -> bool:
    """A node that can resize says what its containers have."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if (status.get("state") or {}).get("running") is not None:
            return status.get("resources") is not None
    return True


def _removed(new: Json, old: Json, path: str) -> list[Cause]:
    after, before = new.get("resources") or {}, old.get("resources") or {}
    return [
        forbidden(f"{path}.{kind}", f"resource {kind} cannot be removed")
        for kind in ("requests", "limits")
        if (before.get(kind) or {}).keys() - (after.get(kind) or {}).keys()
    ]


def _fixed(new: Json, old: Json) -> Json:
    """`new` with the CPU and memory that `old` has, and its policy of resizing."""
    resources = dict(new.get("resources") or {})
    before = old.get("resources") or {}
    for kind in ("requests", "limits"):
        former = before.get(kind)
        own = {k: v for k, v in (resources.get(kind) or {}).items() if k not in _MUTABLE}
        own |= {k: v for k, v in (former or {}).items() if k in _MUTABLE}
        resources = _with(resources, kind, own)
        if former is not None and not own:
            resources[kind] = {}
    made = {**new, "resources": resources}
    made.pop("resizePolicy", None)
    if "resizePolicy" in old:
        made["resizePolicy"] = old["resizePolicy"]
    return made


PREPARE: Final[dict[str, Callable[[Object, Object], None]]] = {
    EPHEMERAL: prepare_ephemeral,
    RESIZE: prepare_resize,
}
VALIDATE: Final[dict[str, Callable[[Object, Object], list[Cause]]]] = {
    EPHEMERAL: validate_ephemeral,
    RESIZE: validate_resize,
}
