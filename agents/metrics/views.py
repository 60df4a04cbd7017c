"""metrics.k8s.io/v1beta1 as clients see it: objects, lists, tables, discovery, OpenAPI. Pure.

Source: k8s.io/metrics, v1beta1; metrics-server's table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from agents.metrics.storage import Usage
from kubraft.api.object import Object
from kubraft.api.quantity import Format, Quantity, from_units, parse_quantity
from kubraft.api.time import format_time

GROUP: Final = "metrics.k8s.io"
VERSION: Final = "v1beta1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KINDS: Final = {"nodes": "NodeMetrics", "pods": "PodMetrics"}
_ZERO: Final = Quantity(0)
_VERBS: Final = ("get", "list")
_AMOUNTS: Final = ("cpu", "memory")
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def node_metrics(node: Object, used: Usage, now: datetime) -> Object:
    """One NodeMetrics."""
    return {
        "kind": KINDS["nodes"],
        "apiVersion": API_VERSION,
        "metadata": _metadata(node, now),
        **_time(used),
        "usage": _amounts(used),
    }


def pod_metrics(pod: Object, used: Mapping[str, Usage], now: datetime) -> Object:
    """One PodMetrics; `used` is by container, and has at least one."""
    earliest = min(used.values(), key=lambda each: each.at_s)
    return {
        "kind": KINDS["pods"],
        "apiVersion": API_VERSION,
        "metadata": _metadata(pod, now),
        **_time(earliest),
        "containers": [{"name": name, "usage": _amounts(used[name])} for name in sorted(used)],
    }


def listing(resource: str, items: Sequence[Object]) -> Object:
    """A list; items do not say their kind."""
    bare = [{k: v for k, v in i.items() if k not in ("kind", "apiVersion")} for i in items]
    kind = f"{KINDS[resource]}List"
    return {"kind": kind, "apiVersion": API_VERSION, "metadata": {}, "items": bare}


def table(items: Sequence[Object], *, metadata_only: bool = True) -> Object:
    """The same as a Table."""
    columns: list[Object] = [{"name": "Name", "type": "string", "format": "name"}]
    columns += [{"name": n, "type": "string", "format": "quantity"} for n in _AMOUNTS]
    columns.append({"name": "Window", "type": "string", "format": "duration"})
    for column in columns:
        column |= {"description": "", "priority": 0}
    rows = []
    for item in items:
        used = [item["usage"]] if "usage" in item else [c["usage"] for c in item["containers"]]
        sums = [str(sum((parse_quantity(e[n]) for e in used), _ZERO)) for n in _AMOUNTS]
        shown = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        obj = {**shown, "metadata": item["metadata"]} if metadata_only else item
        cells = [item["metadata"]["name"], *sums, item["window"]]
        rows.append({"cells": cells, "object": obj})
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": columns,
        "rows": rows,
    }


def resource_list() -> Object:
    """The document of /apis/metrics.k8s.io/v1beta1."""
    resources = [
        {
            "name": name,
            "singularName": "",
            "namespaced": name == "pods",
            "kind": kind,
            "verbs": list(_VERBS),
        }
        for name, kind in KINDS.items()
    ]
    head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": API_VERSION}
    return {**head, "resources": resources}


def group() -> Object:
    """The document of /apis/metrics.k8s.io."""
    version = {"groupVersion": API_VERSION, "version": VERSION}
    head = {"kind": "APIGroup", "apiVersion": "v1", "name": GROUP}
    return {**head, "versions": [version], "preferredVersion": version}


def openapi_v3() -> Object:
    """What `kubectl explain` shows."""
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes metrics-server", "version": "v1beta1"},
        "paths": {path: {"get": op} for path, op in _paths("#/components/schemas/").items()},
        "components": {"schemas": _schemas("#/components/schemas/")},
    }


def openapi_v2() -> Object:
    """The same for older clients."""
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes metrics-server", "version": "v1beta1"},
        "paths": {path: {"get": op} for path, op in _paths("#/definitions/").items()},
        "definitions": _schemas("#/definitions/"),
    }


def _schema_name(kind: str) -> str:
    return f"io.k8s.metrics.pkg.apis.metrics.v1beta1.{kind}"


def _schemas(prefix: str) -> Object:
    usage = {
        "description": "The memory usage is the memory working set.",
        "type": "object",
        "additionalProperties": {"type": "string"},
    }
    timed = {
        "timestamp": {
            "description": "Together with the window, the interval that metrics were "
            "collected from.",
            "type": "string",
            "format": "date-time",
        },
        "window": {"type": "string"},
    }
    container = {
        "description": "Resource usage metrics of a container.",
        "type": "object",
        "required": ["name", "usage"],
        "properties": {"name": {"type": "string"}, "usage": usage},
    }
    made: Object = {_schema_name("ContainerMetrics"): container, _META: {"type": "object"}}
    of_kind = {
        "NodeMetrics": ("Resource usage metrics of a node.", {"usage": usage}),
        "PodMetrics": (
            "Resource usage metrics of a pod.",
            {
                "containers": {
                    "description": "Metrics for all containers, collected within the same window.",
                    "type": "array",
                    "items": {"$ref": prefix + _schema_name("ContainerMetrics")},
                }
            },
        ),
    }
    for kind, (text, own) in of_kind.items():
        made[_schema_name(kind)] = {
            "description": text,
            "type": "object",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
                **timed,
                **own,
            },
            "x-kubernetes-group-version-kind": [_gvk(kind)],
        }
    return made


def _paths(prefix: str) -> dict[str, Any]:
    base = f"/apis/{API_VERSION}"
    places = {"nodes": f"{base}/nodes", "pods": f"{base}/namespaces/{{namespace}}/pods"}
    made = {}
    for resource, place in places.items():
        kind = KINDS[resource]
        ref = {"$ref": prefix + _schema_name(kind)}
        content: Object = {"schema": ref}
        if prefix.startswith("#/components"):
            content = {"content": {"application/json": content}}
        made[f"{place}/{{name}}"] = {
            "operationId": f"read{kind}",
            "responses": {"200": {"description": "OK", **content}},
            "x-kubernetes-action": "get",
            "x-kubernetes-group-version-kind": _gvk(kind),
        }
    return made


def _gvk(kind: str) -> Object:
    return {"group": GROUP, "version": VERSION, "kind": kind}


def _metadata(obj: Object, now: datetime) -> Object:
    metadata = obj["metadata"]
    made = {"name": metadata["name"], "creationTimestamp": format_time(now)}
    for field in ("namespace", "labels"):
        if metadata.get(field):
            made[field] = metadata[field]
    return made


def _time(used: Usage) -> Object:
    at = datetime.fromtimestamp(used.at_s, UTC)
    return {"timestamp": format_time(at), "window": duration(used.window_s)}


def _amounts(used: Usage) -> Object:
    memory = from_units(used.memory_bytes, Format.BINARY)
    return {"cpu": str(Quantity(used.cpu_nano)), "memory": str(memory)}


def duration(seconds: float) -> str:
    """As Go writes it, to the millisecond: "15.012s", "1m30s"."""
    milli = round(seconds * 1000)
    minutes, milli = divmod(milli, 60_000)
    text = f"{milli / 1000:.3f}".rstrip("0").rstrip(".")
    hours, minutes = divmod(minutes, 60)
    head = (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "")
    return f"{head}{text}s"
