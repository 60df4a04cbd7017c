"""What a schema of a CustomResourceDefinition may say, beside being structural; upstream's words.

Source: upstream's validation of CustomResourceDefinitions (order and texts).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from apiserver.registry.causes import forbidden, invalid, required, unsupported
from apiserver.structural.budget import cost_causes
from apiserver.structural.defaulting import default
from apiserver.structural.form import form_causes
from apiserver.structural.pruning import prune_value
from apiserver.structural.rules import compilation_causes
from apiserver.structural.schema import (
    EMBEDDED,
    LIST_KEYS,
    LIST_TYPE,
    MAP_TYPE,
    META_FIELDS,
    PRESERVES,
    RULES,
    Schema,
    items_of,
    properties_of,
)
from apiserver.structural.values import value_causes
from kubraft.api.errors import Cause

_TYPES = ("string", "number", "integer", "boolean", "array", "object")
_NOT_SUPPORTED = (
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
    "$ref",
)
REASONS: Final = (
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
)
# Of a root whose status is written by itself. Names as Go has them, in the order of its message.
_AT_ROOT = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength "
    "MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties "
    "ExternalDocs Example XPreserveUnknownFields XValidations"
)
_AT_ROOT_KEYS = {
    *(name[0].lower() + name[1:] for name in _AT_ROOT.split()),
    PRESERVES,
    RULES,
}


class _Where(NamedTuple):
    """What the place of a schema forbids."""

    no_defaults: str = ""
    in_metadata: bool = False


def schema_causes(schema: Schema, path: str, *, has_status: bool) -> list[Cause]:
    """What is wrong with the schema of a version; `path` ends in openAPIV3Schema."""
    causes: list[Cause] = []
    if has_status:
        causes += _root_causes(schema, path)
    if schema.get("nullable"):
        causes.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    form = form_causes(schema, path)
    causes += form or _default_causes(schema, path)
    causes += _causes(schema, path, _Where(), root=True)
    return causes or compilation_causes(schema, path) or cost_causes(schema, path)


def _root_causes(schema: Schema, path: str) -> Iterator[Cause]:
    for name in schema:
        if name == "type":
            if schema["type"] != "object":
                yield invalid(
                    f"{path}.type",
                    schema["type"],
                    'only "object" is allowed as the type at the root of the schema if the status '
                    "subresource is enabled",
                )
                return
        elif name not in _AT_ROOT_KEYS:
            yield invalid(
                path,
                schema,
                f"only [{_AT_ROOT}] fields are allowed at the root of the schema if the status "
                "subresource is enabled",
            )
            return


def _default_causes(schema: Schema, path: str) -> list[Cause]:
    """Defaults must be what the schema allows, and hold nothing that would be pruned."""
    causes: list[Cause] = []
    value = schema.get("default")
    if value is not None:
        if prune_value(_copied(value), schema):
            causes.append(invalid(f"{path}.default", value, "must not have unknown fields"))
        whole = _copied(value)
        default(whole, schema)
        causes += value_causes(whole, schema, f"{path}.default")
    if items := items_of(schema):
        causes += _default_causes(items, f"{path}.items")
    for name, child in properties_of(schema).items():
        causes += _default_causes(child, f"{path}.properties[{name}]")
    return causes


def _copied(value: Any) -> Any:
    holder = {"value": None}
    default(holder, {"properties": {"value": {"default": value}}})
    return holder["value"]


def _causes(schema: Schema, path: str, where: _Where, *, root: bool = False) -> Iterator[Cause]:
    yield from _own_causes(schema, path, where)
    additional = schema.get("additionalProperties")
    if additional is not None and properties_of(schema) and additional is not True:
        rule = "additionalProperties and properties are mutual exclusive"
        yield forbidden(f"{path}.additionalProperties", rule)
    if isinstance(additional, dict):
        inner = where
        if where.in_metadata:
            inner = where._replace(
                no_defaults="inside additionalProperties applying to object metadata"
            )
        yield from _causes(additional, f"{path}.additionalProperties", inner)
    for name, child in properties_of(schema).items():
        inner = where
        if (root or schema.get(EMBEDDED)) and name in META_FIELDS:
            reason = f"in top-level {name}" if root else where.no_defaults
            inner = _Where(reason, in_metadata=True)
        yield from _causes(child, f"{path}.properties[{name}]", inner)
    for name in ("allOf", "oneOf", "anyOf"):
        for index, child in enumerate(schema.get(name) or ()):
            yield from _causes(child, f"{path}.{name}[{index}]", where)
    if isinstance(schema.get("not"), dict):
        yield from _causes(schema["not"], f"{path}.not", where)
    if items := items_of(schema):
        yield from _causes(items, f"{path}.items", where)
    yield from _extension_causes(schema, path)


def _own_causes(schema: Schema, path: str, where: _Where) -> Iterator[Cause]:
    type_ = schema.get("type", "")
    if type_ and type_ not in _TYPES:
        yield unsupported(f"{path}.type", type_, _TYPES)
    if schema.get("default") is not None and where.no_defaults:
        yield forbidden(f"{path}.default", f"must not be set {where.no_defaults}")
    for name in _NOT_SUPPORTED:
        if schema.get(name):
            yield forbidden(f"{path}.{name}", f"{name} is not supported")
    if type_ == "null":
        rule = "type cannot be set to null, use nullable as an alternative"
        yield forbidden(f"{path}.type", rule)
    if isinstance(schema.get("items"), list):
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    if where.in_metadata and schema.get(EMBEDDED):
        yield forbidden(f"{path}.{EMBEDDED}", "must not be used inside of resource meta")
    if schema.get("uniqueItems"):
        yield forbidden(
            f"{path}.uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        )


def _extension_causes(schema: Schema, path: str) -> Iterator[Cause]:
    if schema.get(PRESERVES) is False:
        yield invalid(f"{path}.{PRESERVES}", value=False, detail="must be true or undefined")
    yield from _merge_type(schema, path, MAP_TYPE, "object", ("atomic", "granular"))
    yield from _merge_type(schema, path, LIST_TYPE, "array", ("atomic", "set", "map"))
    yield from _set_causes(schema, path)
    yield from _map_causes(schema, path)
    for index, rule in enumerate(schema.get(RULES) or ()):
        yield from _rule_causes(rule, f"{path}.{RULES}[{index}]")


def _merge_type(
    schema: Schema, path: str, name: str, type_: str, choices: tuple[str, ...]
) -> Iterator[Cause]:
    value = schema.get(name)
    if value is None:
        return
    found = schema.get("type", "")
    if found != type_:
        rule = f"must be {type_} if {name} is specified"
        yield invalid(f"{path}.type", found, rule) if found else required(f"{path}.type", rule)
    if value not in choices:
        yield unsupported(f"{path}.{name}", value, choices)


def _set_causes(schema: Schema, path: str) -> Iterator[Cause]:
    items = items_of(schema)
    if schema.get(LIST_TYPE) != "set" or not items or schema.get("type") != "array":
        return
    rule = "must be atomic as item of a list with x-kubernetes-list-type=set"
    if items.get("type") == "array" and items.get(LIST_TYPE, "atomic") != "atomic":
        yield invalid(f"{path}.items.{LIST_TYPE}", items.get(LIST_TYPE), rule)
    if items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
        yield invalid(f"{path}.items.{MAP_TYPE}", items.get(LIST_TYPE), rule)
    if items.get("nullable"):
        rule = "cannot be nullable when x-kubernetes-list-type is set"
        yield forbidden(f"{path}.items.nullable", rule)


def _map_causes(schema: Schema, path: str) -> Iterator[Cause]:
    kind, keys = schema.get(LIST_TYPE), schema.get(LIST_KEYS) or []
    if keys and kind != "map":
        rule = "must be map if x-kubernetes-list-map-keys is non-empty"
        place = f"{path}.{LIST_TYPE}"
        yield required(place, rule) if kind is None else invalid(place, kind, rule)
    if kind != "map":
        return
    if not keys:
        rule = "must not be empty if x-kubernetes-list-type is map"
        yield required(f"{path}.{LIST_KEYS}", rule)
    items = items_of(schema)
    if schema.get("items") is None:
        yield required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
        return
    if items.get("type") != "object":
        rule = "must be object if parent array's x-kubernetes-list-type is map"
        yield invalid(f"{path}.items.type", items.get("type", ""), rule)
        return
    yield from _key_causes(items, keys, path)


def _key_causes(items: Schema, keys: list[str], path: str) -> Iterator[Cause]:
    properties, place = properties_of(items), f"{path}.items.properties"
    for index, key in enumerate(keys):
        known = properties.get(key)
        if known is None:
            rule = "entries must all be names of item properties"
            yield invalid(f"{path}.{LIST_KEYS}", keys, rule)
        elif known.get("type") in ("array", "object"):
            rule = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield invalid(f"{place}[{key}].type", items.get("type"), rule)
        if key in keys[:index]:
            yield invalid(f"{path}.{LIST_KEYS}", keys, "must not contain duplicate entries")
    if items.get("nullable"):
        rule = "cannot be nullable when x-kubernetes-list-type is map"
        yield forbidden(f"{path}.items.nullable", rule)
    said = "this property is in x-kubernetes-list-map-keys, so it"
    for key in keys:
        known = properties.get(key)
        if known is None:
            continue
        if key not in (items.get("required") or ()) and known.get("default") is None:
            rule = f"{said} must have a default or be a required property"
            yield required(f"{place}[{key}].default", rule)
        if known.get("nullable"):
            yield forbidden(f"{place}[{key}].nullable", f"{said} cannot be nullable")


def _rule_causes(rule: dict[str, Any], path: str) -> Iterator[Cause]:
    """The parts of a CEL rule, but for its expressions."""
    expression, message = rule.get("rule", ""), rule.get("message", "")
    if not expression.strip():
        yield required(f"{path}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid(f"{path}.message", message, "must be non-empty if specified")
    elif _has_line_breaks(message.strip()):
        yield invalid(f"{path}.message", message, "must not contain line breaks")
    elif _has_line_breaks(expression.strip()) and not message.strip():
        why = "message must be specified if rule contains line breaks"
        yield required(f"{path}.message", why)
    if rule.get("messageExpression") and not rule["messageExpression"].strip():
        why = "messageExpression must be non-empty if specified"
        yield required(f"{path}.messageExpression", why)
    if rule.get("reason") is not None and rule["reason"] not in REASONS:
        yield unsupported(f"{path}.reason", rule["reason"], REASONS)
    field = rule.get("fieldPath", "")
    if field and not field.strip():
        yield invalid(f"{path}.fieldPath", field, "must be non-empty if specified")
    if _has_line_breaks(field):
        yield invalid(f"{path}.fieldPath", field, "must not contain line breaks")


def _has_line_breaks(text: str) -> bool:
    return "\n" in text or "\r" in text
