"""The OpenAPI definitions of custom kinds, made from their structural schemas.

In the form of the definitions that the built-in kinds have: references to others are `$ref`s.

Source: upstream's OpenAPI builder of custom resources (names, descriptions).
"""

from __future__ import annotations

from typing import Any

from apiserver.registry.resource import Resource
from apiserver.schema.definitions import Schema
from apiserver.structural.schema import EMBEDDED, INT_OR_STRING, PRESERVES

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_CONVENTIONS = (
    "More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
)
_API_VERSION = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should "
    "convert recognized schemas to the latest internal value, and may reject unrecognized values. "
    f"{_CONVENTIONS}#resources"
)
_KIND = (
    "Kind is a string value representing the REST resource this object represents. Servers may "
    "infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. "
    f"{_CONVENTIONS}#types-kinds"
)
_GVK = "x-kubernetes-group-version-kind"
_V2_HAS_NOT = ("nullable", "anyOf", "oneOf", "allOf", "not", "default")


def definition_name(row: Resource, kind: str) -> str:
    """As upstream names it: "com.example.stable.v1.CronTab"."""
    return ".".join([*reversed(row.gvk.group.split(".")), row.gvk.version, kind])


def definitions(row: Resource) -> dict[str, Schema]:
    """Those of a custom kind and of its list, by name."""
    assert row.custom is not None
    own, many = definition_name(row, row.gvk.kind), definition_name(row, row.list_kind)
    schema: Schema = {"type": "object", **row.custom.schema}
    schema["properties"] = {**(schema.get("properties") or {}), **_object_fields()}
    schema[_GVK] = [row.gvk._asdict()]
    items = {
        "description": f"List of {row.plural}. More info: https://git.k8s.io/community/"
        "contributors/devel/sig-architecture/api-conventions.md",
        "type": "array",
        "items": {"$ref": f"#/$defs/{own}"},
    }
    listed: Schema = {
        "description": f"{row.list_kind} is a list of {row.gvk.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {**_object_fields("ListMeta"), "items": items},
        _GVK: [row.gvk._replace(kind=row.list_kind)._asdict()],
    }
    return {own: _with_metadata(schema), many: listed}


def for_v2(schema: Any) -> Any:
    """A schema without what OpenAPI 2.0 has not, as upstream strips it for old clients."""
    if not isinstance(schema, dict):
        return schema
    kept = {name: value for name, value in schema.items() if name not in _V2_HAS_NOT}
    if schema.get(PRESERVES) and _GVK in schema:
        # Old clients take the fields that are named for all that there are.
        return {"type": "object", _GVK: schema[_GVK]}
    if schema.get(PRESERVES) or schema.get(INT_OR_STRING) or schema.get("nullable"):
        kept = {n: v for n, v in kept.items() if n not in ("items", "properties")}
        if not schema.get(PRESERVES) or schema.get("type") in ("array", "object"):
            kept.pop("type", None)
    for name in ("items", "additionalProperties"):
        if isinstance(kept.get(name), dict):
            kept[name] = for_v2(kept[name])
    if "properties" in kept:
        kept["properties"] = {n: for_v2(child) for n, child in kept["properties"].items()}
    return kept


def _object_fields(metadata: str = "ObjectMeta") -> dict[str, Schema]:
    of_object = metadata == "ObjectMeta"
    described = "Standard object's metadata." if of_object else "Standard list metadata."
    return {
        "apiVersion": {"description": _API_VERSION, "type": "string"},
        "kind": {"description": _KIND, "type": "string"},
        "metadata": {
            "description": f"{described} {_CONVENTIONS}#metadata",
            "$ref": f"#/$defs/{_META}{metadata}",
        },
    }


def _with_metadata(schema: Any) -> Any:
    """With the fields that embedded objects have as all others."""
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for name in ("items", "additionalProperties"):
        if isinstance(made.get(name), dict):
            made[name] = _with_metadata(made[name])
    if isinstance(made.get("properties"), dict):
        made["properties"] = {n: _with_metadata(c) for n, c in made["properties"].items()}
    if made.get(EMBEDDED):
        made["properties"] = {**(made.get("properties") or {}), **_object_fields()}
    return made
