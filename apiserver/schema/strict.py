"""The strict form of a definition, compiled: what passes needs no closer look.

Nulls, unknown fields and integers out of range do not pass. This is the fast path of every write:
`decoder` finds out what is the matter with the rest.
"""

from __future__ import annotations

from typing import Any

import jsonschema_rs

from apiserver.schema.definitions import Schema, reference

INT_ANY = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"

QUANTITY_PATTERN = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
TIME_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
BASE64_PATTERN = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
INT_BITS = {"int32": 32, "int64": 64}

_SPECIAL: dict[str, Schema] = {
    INT_ANY: {
        "anyOf": [
            {"type": "string"},
            {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
        ]
    },
    QUANTITY: {"anyOf": [{"type": "string", "pattern": QUANTITY_PATTERN}, {"type": "number"}]},
    TIME: {"type": "string", "pattern": TIME_PATTERN},
    MICRO_TIME: {"type": "string", "pattern": TIME_PATTERN},
}


# Of schemas in CustomResourceDefinitions: a schema, or something else that is left as it is.
OR_SCHEMA = frozenset(
    f"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps{name}"
    for name in ("OrArray", "OrBool")
)
JSON_SCHEMA = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"


def compile_strict(definitions: dict[str, Schema], root: str) -> jsonschema_rs.Draft7Validator:
    """A validator of the strict form of definition `root`."""
    needed: dict[str, Schema] = {}
    todo = [root]
    while todo:
        name = todo.pop()
        if name not in needed:
            needed[name] = _SPECIAL.get(name) or _strict(definitions[name], todo)
    schema = {"$ref": f"#/definitions/{root}", "definitions": needed}
    return jsonschema_rs.Draft7Validator(schema, validate_formats=False)


def type_of(schema: Schema) -> str:
    """The one type of a schema that is not null; empty where it may be anything."""
    types = schema.get("type", "")
    if isinstance(types, str):
        return types
    return next((name for name in types if name != "null"), "")


def _strict(schema: Schema, todo: list[str]) -> Schema:
    if (name := reference(schema)) is not None:
        if name in OR_SCHEMA:
            todo.append(JSON_SCHEMA)
            schema_ref = {"$ref": f"#/definitions/{JSON_SCHEMA}"}
            return {"anyOf": [schema_ref, {"type": "boolean"}]}
        todo.append(name)
        return {"$ref": f"#/definitions/{name}"}
    type_ = type_of(schema)
    if type_ == "object":
        return _strict_object(schema, todo)
    result: Schema = {"type": type_} if type_ else {}
    if type_ == "array":
        result["items"] = _strict(schema.get("items", {}), todo)
    if bits := INT_BITS.get(schema.get("format", "")):
        result |= {"minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1}
    if schema.get("format") == "byte":
        result["pattern"] = BASE64_PATTERN
    return result


def _strict_object(schema: Schema, todo: list[str]) -> Schema:
    result: dict[str, Any] = {"type": "object"}
    if "properties" in schema:
        properties = schema["properties"].items()
        result["properties"] = {name: _strict(prop, todo) for name, prop in properties}
        result["additionalProperties"] = False
        if schema.get("required"):
            result["required"] = schema["required"]
    elif isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = _strict(schema["additionalProperties"], todo)
    return result
