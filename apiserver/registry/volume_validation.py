"""Rules on the volumes of a Pod.

Source: Kubernetes API reference, core/v1 Volume; texts of upstream's validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apiserver.registry.causes import (
    all_invalid,
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)
from apiserver.registry.downward import VOLUME_FIELDS, field_reference_causes
from kubraft.api.errors import Cause
from kubraft.api.names import config_key_errors, dns1123_label_errors
from kubraft.api.quantity import parse_quantity

Json = dict[str, Any]

TOKEN_S_MIN, TOKEN_S_MAX = 600, 1 << 32
_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_MORE = "may not specify more than 1 volume type"
_HOST_PATH_TYPES = (
    *("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File"),
    *("FileOrCreate", "Socket"),
)
# What a source cannot do without, by source.
_NEEDED = {
    "secret": ("secretName",),
    "configMap": ("name",),
    "persistentVolumeClaim": ("claimName",),
    "hostPath": ("path",),
    "nfs": ("server", "path"),
    "csi": ("driver",),
    "iscsi": ("targetPortal", "iqn"),
    "glusterfs": ("endpoints", "path"),
    "ephemeral": ("volumeClaimTemplate",),
}


def volume_causes(spec: Json, field: str) -> tuple[dict[str, Json], list[Cause]]:
    """The volumes by name, and what is wrong with them; `field` is the path of their list."""
    causes: list[Cause] = []
    volumes: dict[str, Json] = {}
    for index, volume in enumerate(spec.get("volumes") or ()):
        path, name = f"{field}[{index}]", volume.get("name", "")
        if not name:
            causes.append(required(f"{path}.name"))
        else:
            causes += all_invalid(f"{path}.name", name, dns1123_label_errors(name))
            if name in volumes:
                causes.append(duplicate(f"{path}.name", name))
        volumes[name] = volume
        sources = sorted(key for key in volume if key != "name")
        causes += [forbidden(f"{path}.{source}", _MORE) for source in sources[1:]]
        for source in sources[:1]:
            causes += _source(source, volume[source], f"{path}.{source}")
    return volumes, causes


def _source(kind: str, source: Json, path: str) -> Iterator[Cause]:
    for name in _NEEDED.get(kind, ()):
        if not source.get(name):
            yield required(f"{path}.{name}")
    yield from _mode(source.get("defaultMode"), f"{path}.defaultMode")
    match kind:
        case "hostPath":
            yield from _host_path(source, path)
        case "nfs" if source.get("path") and not source["path"].startswith("/"):
            yield invalid(f"{path}.path", source["path"], "must be an absolute path")
        case "emptyDir":
            limit = source.get("sizeLimit")
            if limit is not None and parse_quantity(limit).nano < 0:
                rule = "SizeLimit field must be a valid resource quantity"
                yield forbidden(f"{path}.sizeLimit", rule)
        case "secret" | "configMap":
            yield from _items(source, path)
        case "downwardAPI":
            yield from _downward(source, path)
        case "projected":
            yield from _projected(source, path)


def _host_path(source: Json, path: str) -> Iterator[Cause]:
    if ".." in source.get("path", "").split("/"):
        yield invalid(f"{path}.path", source["path"], "must not contain '..'")
    if source.get("type", "") not in _HOST_PATH_TYPES:
        yield unsupported(f"{path}.type", source["type"], _HOST_PATH_TYPES)


def _items(source: Json, path: str) -> Iterator[Cause]:
    """Keys that become files."""
    for index, item in enumerate(source.get("items") or ()):
        at, key = f"{path}.items[{index}]", item.get("key", "")
        if not key:
            yield required(f"{at}.key")
        else:
            yield from all_invalid(f"{at}.key", key, config_key_errors(key))
        yield from _file(item, at)


def _file(item: Json, path: str) -> Iterator[Cause]:
    """A path below the volume, and its mode."""
    name = item.get("path", "")
    if not name:
        yield required(f"{path}.path")
    elif name.startswith("/"):
        yield invalid(f"{path}.path", name, "must be a relative path")
    elif ".." in name.split("/"):
        yield invalid(f"{path}.path", name, "must not contain '..'")
    elif name.startswith(".."):
        yield invalid(f"{path}.path", name, "must not start with '..'")
    yield from _mode(item.get("mode"), f"{path}.mode")


def _downward(source: Json, path: str) -> Iterator[Cause]:
    """Fields of the Pod that become files; upstream does not say which of the items it means."""
    for item in source.get("items") or ():
        yield from _file(item, path)
        of_field, of_resource = item.get("fieldRef"), item.get("resourceFieldRef")
        if of_field is not None:
            yield from field_reference_causes(of_field, f"{path}.fieldRef", VOLUME_FIELDS)
            if of_resource is not None:
                rule = "fieldRef and resourceFieldRef can not be specified simultaneously"
                yield invalid(path, "resource", rule)
        elif of_resource is None:
            yield required(path, "one of fieldRef and resourceFieldRef is required")
        elif not of_resource.get("containerName"):
            yield required(f"{path}.resourceFieldRef.containerName")
        elif not of_resource.get("resource"):
            yield required(f"{path}.resourceFieldRef.resource")


def _projected(source: Json, path: str) -> Iterator[Cause]:
    for index, each in enumerate(source.get("sources") or ()):
        at = f"{path}.sources[{index}]"
        kinds = sorted(each)
        for _ in kinds[1:]:
            yield forbidden(at, _MORE)
        if kinds[:1] == ["serviceAccountToken"]:
            yield from _token(each["serviceAccountToken"], f"{at}.serviceAccountToken")
        elif kinds[:1] == ["downwardAPI"]:
            yield from _downward(each["downwardAPI"], f"{at}.downwardAPI")
        elif kinds[:1] in (["secret"], ["configMap"]):
            if not each[kinds[0]].get("name"):
                yield required(f"{at}.{kinds[0]}.name")
            yield from _items(each[kinds[0]], f"{at}.{kinds[0]}")


def _token(token: Json, path: str) -> Iterator[Cause]:
    seconds = token.get("expirationSeconds", TOKEN_S_MIN)
    if seconds < TOKEN_S_MIN:
        rule = "may not specify a duration less than 10 minutes"
        yield invalid(f"{path}.expirationSeconds", seconds, rule)
    elif seconds > TOKEN_S_MAX:
        rule = "may not specify a duration larger than 2^32 seconds"
        yield invalid(f"{path}.expirationSeconds", seconds, rule)
    if not token.get("path"):
        yield required(f"{path}.path")


def _mode(mode: int | None, field: str) -> Iterator[Cause]:
    if mode is not None and not 0 <= mode <= 0o777:
        yield invalid(field, mode, _MODE)
