"""Whether a schema is structural: what may stand where, in upstream's words.

Source: Kubernetes documentation, "Specifying a structural schema"; upstream's structural schema
validation (texts).
"""

from __future__ import annotations

from collections.abc import Iterator

from apiserver.registry.causes import forbidden, invalid, required
from apiserver.structural import pattern
from apiserver.structural.schema import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_KEYS,
    LIST_TYPE,
    MAP_TYPE,
    PRESERVES,
    RULES,
    Schema,
    items_of,
    properties_of,
)
from kubraft.api.errors import Cause

_INT_OR_STRING_FORMS = [{"type": "integer"}, {"type": "string"}]
_METADATA_MAY = {"name", "generateName"}
_WHERE = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
# What a schema below a junctor may not have, and how that is said.
_NESTED_MAY_NOT = (
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    (PRESERVES, "must be false to be structural"),
    (EMBEDDED, "must be false to be structural"),
    (INT_OR_STRING, "must be false to be structural"),
    (LIST_KEYS, "must be empty to be structural"),
    (LIST_TYPE, "must be undefined to be structural"),
    (MAP_TYPE, "must be undefined to be structural"),
    (RULES, "must be empty to be structural"),
)


def form_causes(schema: Schema, path: str) -> list[Cause]:
    """Why a schema is not structural; sorted, as the fields of an object have no order."""
    causes = [*_invariants(schema, "root", path), *_completeness(schema, schema, path, path)]
    return sorted(causes, key=str)


def _invariants(schema: Schema, level: str, path: str) -> Iterator[Cause]:
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        yield required(f"{path}.items", "must be specified")
    if items := items_of(schema):
        yield from _invariants(items, "item", f"{path}.items")
    for name, child in properties_of(schema).items():
        yield from _invariants(child, "field", f"{path}.properties[{name}]")
    additional = schema.get("additionalProperties")
    if additional is not None:
        if level == "root":
            yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
        if isinstance(additional, dict):
            yield from _invariants(additional, "field", f"{path}.additionalProperties")
    yield from _extensions(schema, path)
    yield from _junctors(schema, path)
    yield from _types(schema, level, path)
    yield from _metadata(schema, level, path)


def _extensions(schema: Schema, path: str) -> Iterator[Cause]:
    if schema.get(INT_OR_STRING):
        for name in (PRESERVES, EMBEDDED):
            if schema.get(name):
                rule = "must be false if x-kubernetes-int-or-string is true"
                yield invalid(f"{path}.{name}", schema[name], rule)
    if schema.get(EMBEDDED):
        if schema.get("additionalProperties") is not None:
            rule = "must not be used if x-kubernetes-embedded-resource is set"
            yield forbidden(f"{path}.additionalProperties", rule)
        if not schema.get(PRESERVES) and not schema.get("properties"):
            yield required(
                f"{path}.properties",
                "must not be empty if x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields",
            )


def _types(schema: Schema, level: str, path: str) -> Iterator[Cause]:
    type_ = schema.get("type", "")
    if schema.get(EMBEDDED) and type_ != "object":
        rule = "must be object if x-kubernetes-embedded-resource is true"
        yield invalid(f"{path}.type", type_, rule) if type_ else required(f"{path}.type", rule)
    elif not type_ and not schema.get(INT_OR_STRING) and not schema.get(PRESERVES):
        yield required(f"{path}.type", _WHERE[level])
    if level == "root" and type_ and type_ != "object":
        yield invalid(f"{path}.type", type_, "must be object at the root")


def _metadata(schema: Schema, level: str, path: str) -> Iterator[Cause]:
    """Schemas of metadata may only restrict the name."""
    properties = properties_of(schema)
    checked = level == "root" or bool(schema.get(EMBEDDED))
    for name in ("kind", "apiVersion"):
        if checked and name in properties and properties[name].get("type") != "string":
            found = properties[name].get("type", "")
            yield invalid(f"{path}.properties[{name}].type", found, "must be string")
    metadata, place = properties.get("metadata"), f"{path}.properties[metadata]"
    if metadata is None:
        return
    if checked and metadata.get("type") != "object":
        yield invalid(f"{place}.type", metadata.get("type", ""), "must be object")
    others = set(metadata) - {"type", "properties", "default", "description"}
    if level == "root" and (others or set(properties_of(metadata)) - _METADATA_MAY):
        yield forbidden(
            place,
            "must not specify anything other than name and generateName, but metadata is "
            "implicitly specified",
        )


def _junctors(schema: Schema, path: str, *, free: bool = True) -> Iterator[Cause]:
    """The schemas below anyOf, allOf, oneOf and not; `free` lets int-or-string name its types."""
    any_of = schema.get("anyOf") or []
    if not (free and any_of == _INT_OR_STRING_FORMS):
        for index, each in enumerate(any_of):
            yield from _nested(each, f"{path}.anyOf[{index}]")
    for index, each in enumerate(schema.get("allOf") or ()):
        yield from _nested(each, f"{path}.allOf[{index}]", free=free and index == 0)
    for index, each in enumerate(schema.get("oneOf") or ()):
        yield from _nested(each, f"{path}.oneOf[{index}]")
    if isinstance(schema.get("not"), dict):
        yield from _nested(schema["not"], f"{path}.not")
    if wanted := schema.get("pattern"):
        try:
            pattern.check(wanted)
        except pattern.PatternError as error:
            rule = f"must be a valid regular expression, but isn't: {error}"
            yield invalid(f"{path}.pattern", wanted, rule)


def _nested(schema: Schema, path: str, *, free: bool = False) -> Iterator[Cause]:
    yield from _junctors(schema, path, free=free)
    if items := items_of(schema):
        yield from _nested(items, f"{path}.items")
    for name, child in properties_of(schema).items():
        yield from _nested(child, f"{path}.properties[{name}]")
    for name, rule in _NESTED_MAY_NOT:
        if schema.get(name):
            yield forbidden(f"{path}.{name}", rule)
    if "metadata" in properties_of(schema):
        rule = "must not be specified in a nested context"
        yield forbidden(f"{path}.properties[metadata]", rule)


def _completeness(nested: Schema, schema: Schema, schema_path: str, path: str) -> Iterator[Cause]:
    """What a junctor speaks of must be specified outside of it."""
    for name in ("allOf", "anyOf", "oneOf"):
        for index, each in enumerate(nested.get(name) or ()):
            place = f"{path}.{name}[{index}]"
            yield from _nested_completeness(each, schema, schema_path, place)
    if isinstance(nested.get("not"), dict):
        yield from _nested_completeness(nested["not"], schema, schema_path, f"{path}.not")


def _nested_completeness(
    nested: Schema, schema: Schema, schema_path: str, path: str
) -> Iterator[Cause]:
    yield from _completeness(nested, schema, schema_path, path)
    if items := items_of(nested):
        if not isinstance(schema.get("items"), dict):
            yield required(f"{schema_path}.items", f"because it is defined in {path}.items")
        else:
            deeper = (f"{schema_path}.items", f"{path}.items")
            yield from _nested_completeness(items, items_of(schema), *deeper)
    for name, child in properties_of(nested).items():
        place = f"properties[{name}]"
        if name in properties_of(schema):
            deeper = (f"{schema_path}.{place}", f"{path}.{place}")
            yield from _nested_completeness(child, properties_of(schema)[name], *deeper)
        else:
            yield required(f"{schema_path}.{place}", f"because it is defined in {path}.{place}")
