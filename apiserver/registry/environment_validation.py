"""Rules on what a container gets from outside: variables, mounts, block devices.

Source: Kubernetes API reference, core/v1 EnvVar, EnvFromSource, VolumeMount, VolumeDevice;
texts of upstream's validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from apiserver.registry.causes import (
    all_invalid,
    forbidden,
    invalid,
    not_found,
    required,
    unsupported,
)
from apiserver.registry.downward import field_reference_causes
from kubraft.api.errors import Cause
from kubraft.api.names import config_key_errors, env_name_errors

Json = dict[str, Any]

_SEVERAL = "may not have more than one field specified at a time"
_SOURCES = (
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or "
    "`fileKeyRef`"
)
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")


def environment_causes(container: Json, path: str, volumes: Mapping[str, Json]) -> list[Cause]:
    """What is wrong with a container's variables, mounts and devices; `volumes` are the Pod's."""
    return [
        *_env(container, path),
        *_env_from(container, path),
        *_mounts(container, path, volumes),
        *_devices(container, path, volumes),
    ]


def _env(container: Json, path: str) -> Iterator[Cause]:
    for index, variable in enumerate(container.get("env") or ()):
        field, name = f"{path}.env[{index}]", variable.get("name", "")
        if not name:
            yield required(f"{field}.name")
        else:
            yield from all_invalid(f"{field}.name", name, env_name_errors(name))
        source = variable.get("valueFrom")
        if source is None:
            continue
        if variable.get("value"):
            rule = "may not be specified when `value` is not empty"
            yield invalid(f"{field}.valueFrom", "", rule)
        if len(source) != 1:
            yield invalid(f"{field}.valueFrom", "", _SEVERAL if source else _SOURCES)
        yield from _value_from(source, f"{field}.valueFrom")


def _value_from(source: Json, path: str) -> Iterator[Cause]:
    if "fieldRef" in source:
        yield from field_reference_causes(source["fieldRef"], f"{path}.fieldRef")
    if "resourceFieldRef" in source and not source["resourceFieldRef"].get("resource"):
        yield required(f"{path}.resourceFieldRef.resource")
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in source:
            key, at = source[kind].get("key", ""), f"{path}.{kind}"
            if not source[kind].get("name"):
                yield required(f"{at}.name")
            if not key:
                yield required(f"{at}.key")
            else:
                yield from all_invalid(f"{at}.key", key, config_key_errors(key))


def _env_from(container: Json, path: str) -> Iterator[Cause]:
    for index, source in enumerate(container.get("envFrom") or ()):
        field = f"{path}.envFrom[{index}]"
        if prefix := source.get("prefix"):
            yield from all_invalid(f"{field}.prefix", prefix, env_name_errors(prefix))
        kinds = [kind for kind in ("configMapRef", "secretRef") if kind in source]
        for kind in kinds:
            if not source[kind].get("name"):
                yield required(f"{field}.{kind}.name")
        if not kinds:
            yield invalid(field, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(kinds) > 1:
            yield invalid(field, "", _SEVERAL)


def _mounts(container: Json, path: str, volumes: Mapping[str, Json]) -> Iterator[Cause]:
    places: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        field = f"{path}.volumeMounts[{index}]"
        name, place = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            yield required(f"{field}.name")
        elif name not in volumes:
            yield not_found(f"{field}.name", name)
        if not place:
            yield required(f"{field}.mountPath")
        elif place in places:
            yield invalid(f"{field}.mountPath", place, "must be unique")
        places.add(place)
        yield from _sub_paths(mount, field)
        yield from _propagation(mount, container, field)


def _sub_paths(mount: Json, field: str) -> Iterator[Cause]:
    if mount.get("subPath") and mount.get("subPathExpr"):
        rule = "subPathExpr and subPath are mutually exclusive"
        yield invalid(f"{field}.subPathExpr", mount["subPathExpr"], rule)
    for name in ("subPath", "subPathExpr"):
        path = mount.get(name, "")
        if path.startswith("/"):
            yield invalid(f"{field}.{name}", path, "must be a relative path")
        elif ".." in path.split("/"):
            yield invalid(f"{field}.{name}", path, "must not contain '..'")


def _propagation(mount: Json, container: Json, field: str) -> Iterator[Cause]:
    propagation = mount.get("mountPropagation")
    if propagation is None:
        return
    if propagation not in _PROPAGATIONS:
        yield unsupported(f"{field}.mountPropagation", propagation, _PROPAGATIONS)
    privileged = (container.get("securityContext") or {}).get("privileged")
    if propagation == "Bidirectional" and not privileged:
        rule = "Bidirectional mount propagation is available only to privileged containers"
        yield forbidden(f"{field}.mountPropagation", rule)


def _devices(container: Json, path: str, volumes: Mapping[str, Json]) -> Iterator[Cause]:
    places: set[str] = set()
    mounted = {mount.get("name") for mount in container.get("volumeMounts") or ()}
    for index, device in enumerate(container.get("volumeDevices") or ()):
        field = f"{path}.volumeDevices[{index}]"
        name, place = device.get("name", ""), device.get("devicePath", "")
        if not name:
            yield required(f"{field}.name")
        elif name not in volumes:
            yield not_found(f"{field}.name", name)
        elif not volumes[name].keys() & {"persistentVolumeClaim", "ephemeral"}:
            rule = "can only use volume source type of PersistentVolumeClaim or Ephemeral for "
            yield invalid(f"{field}.name", name, f"{rule}block mode")
        if name in mounted:
            rule = "must not already exist in volumeMounts"
            yield invalid(f"{field}.name", name, rule)
        if not place:
            yield required(f"{field}.devicePath")
        elif place in places:
            yield invalid(f"{field}.devicePath", place, "must be unique")
        elif ".." in place.split("/"):
            yield invalid(f"{field}.devicePath", place, "can not contain backsteps ('..')")
        places.add(place)
