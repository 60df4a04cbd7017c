"""What a schema says of merging: which maps and lists are one value, which merge, and by what.

A `Type` is made from a structural or OpenAPI schema as plain dicts: the built-in definitions, or
that of a custom resource. Where a schema says nothing, `UNTYPED` fields merge as maps and replace
as lists.

Source: Kubernetes documentation, "Server-Side Apply: Merge strategy" (x-kubernetes-list-type,
x-kubernetes-list-map-keys, x-kubernetes-map-type).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from apiserver.apply import path

_REFERENCES = ("#/$defs/", "#/definitions/", "#/components/schemas/")
_SCALARS = {"string", "integer", "number", "boolean"}
_MAP_TYPE, _LIST_TYPE = "x-kubernetes-map-type", "x-kubernetes-list-type"
_LIST_KEYS, _PRESERVE = "x-kubernetes-list-map-keys", "x-kubernetes-preserve-unknown-fields"
_STRATEGY, _MERGE_KEY = "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
# Keys of lists that the API fills in, where the definitions do not say so.
_KEY_DEFAULTS = {
    "io.k8s.api.core.v1.ContainerPort": {"protocol": "TCP"},
    "io.k8s.api.core.v1.ServicePort": {"protocol": "TCP"},
    "io.k8s.api.core.v1.LocalObjectReference": {"name": ""},
}
# Parts that are there even when nobody sets them, as structs in Go are: nobody adds them.
_ALWAYS = frozenset({"metadata", "spec", "status", "template", "jobTemplate"})
_ALWAYS_OF = {
    "io.k8s.api.apps.v1.DeploymentSpec": {"strategy"},
    "io.k8s.api.apps.v1.DaemonSetSpec": {"updateStrategy"},
    "io.k8s.api.apps.v1.StatefulSetSpec": {"updateStrategy"},
    "io.k8s.api.core.v1.ServiceStatus": {"loadBalancer"},
    "io.k8s.api.core.v1.NodeStatus": {"daemonEndpoints", "nodeInfo"},
    "io.k8s.api.core.v1.NodeDaemonEndpoints": {"kubeletEndpoint"},
    "io.k8s.api.core.v1.PersistentVolumeClaimSpec": {"resources"},
    "io.k8s.api.core.v1.Event": {"source"},
    "io.k8s.api.networking.v1.IngressStatus": {"loadBalancer"},
}


class Shape(Enum):
    """How a value of a type is looked into."""

    SCALAR = "scalar"
    STRUCT = "struct"  # fields by name, and `element` for others where it is set
    MAP = "map"
    KEYED = "keyed"  # a list whose items are told apart by `keys`
    SET = "set"
    ATOMIC_MAP = "atomic map"
    ATOMIC_LIST = "atomic list"
    ANY = "any"  # deduced from the value: maps merge, lists and scalars replace
    OPAQUE = "opaque"  # any value, never looked into


class UnkeyedError(ValueError):
    """An item of a list cannot be told apart from the others."""


class Type:
    """One type; types refer to each other and, as schemas may, to themselves.

    `always` names fields that exist whether or not they are set (see `_ALWAYS`).
    """

    __slots__ = ("always", "defaults", "element", "fields", "keys", "scalar", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.scalar = ""  # string, number, boolean, or "" for any
        self.fields: dict[str, Type] = {}
        self.element: Type | None = None
        self.keys: tuple[str, ...] = ()
        self.defaults: dict[str, Any] = {}
        self.always: frozenset[str] = frozenset()

    def child(self, name: str) -> Type | None:
        """The type of a field; None where the schema has no such field."""
        return self.fields.get(name) or self.element

    def element_of(self, item: Any) -> str:
        """The path element of an item of a list.

        Raises:
            UnkeyedError: it cannot be told apart from others; the text is upstream's.
        """
        if self.shape is Shape.SET:
            return _element_of_set(item)
        if item is None:
            raise UnkeyedError("associative list with keys may not have a null element")
        if not isinstance(item, dict):
            raise UnkeyedError("associative list with keys may not have non-map elements")
        keys = {}
        for name in self.keys:
            value = item.get(name, self.defaults.get(name))
            if value is not None:
                keys[name] = value
        if not keys:
            shown = " ".join(f'"{name}"' for name in self.keys)
            raise UnkeyedError(
                f"associative list with keys has an element that omits all key fields [{shown}] "
                "(and doesn't have default values for any key fields)"
            )
        return path.of_keys(keys)


def _element_of_set(item: Any) -> str:
    if isinstance(item, dict):
        raise UnkeyedError("associative list without keys has an element that's a map type")
    if isinstance(item, list):
        raise UnkeyedError("not supported: associative list with lists as elements")
    if item is None:
        raise UnkeyedError("associative list without keys has an element that's an explicit null")
    return path.of_value(item)


def _untyped() -> Type:
    result = Type(Shape.ANY)
    result.element = result
    return result


UNTYPED = _untyped()
OPAQUE = Type(Shape.OPAQUE)


class Types:
    """Types of schemas that share definitions; each definition is read once, when first needed."""

    def __init__(self, definitions: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._definitions = definitions or {}
        self._named: dict[str, Type] = {}

    def named(self, name: str) -> Type:
        """The type of a definition; OPAQUE where there is none."""
        found = self._named.get(name)
        if found is None:
            schema = self._definitions.get(name)
            if schema is None:
                return OPAQUE
            found = self._named[name] = Type(Shape.OPAQUE)
            self._fill(found, schema, name)
        return found

    def of(self, schema: Mapping[str, Any]) -> Type:
        """The type of a schema; what stands beside a reference counts as well."""
        reference = _reference(schema)
        if reference is None:
            result = Type(Shape.OPAQUE)
            self._fill(result, schema, "")
            return result
        found = self.named(reference)
        if schema.get(_MAP_TYPE) == "atomic" and found.shape in (Shape.STRUCT, Shape.MAP):
            return _atomic(found)
        return found

    def of_custom(self, schema: Mapping[str, Any] | None) -> Type:
        """The type of a custom resource: its schema, with the metadata that every object has."""
        if not schema:
            return self._with_metadata(UNTYPED)
        return self._with_metadata(self.of(schema))

    def _with_metadata(self, type_: Type) -> Type:
        result = Type(Shape.STRUCT)
        text = Type(Shape.SCALAR)
        text.scalar = "string"
        own = {"apiVersion": text, "kind": text, "metadata": self.named(OBJECT_META)}
        result.fields, result.element = type_.fields | own, type_.element
        result.always = _ALWAYS & result.fields.keys()
        return result

    def _fill(self, type_: Type, schema: Mapping[str, Any], name: str) -> None:
        kind = _kind(schema)
        if kind in _SCALARS:
            type_.shape, type_.scalar = Shape.SCALAR, _scalar(kind)
        elif kind == "array":
            self._fill_list(type_, schema)
        elif kind == "object" or "properties" in schema:
            self._fill_map(type_, schema, name)
        elif kind == "scalar":
            type_.shape = Shape.SCALAR
        elif schema.get(_PRESERVE):
            type_.shape, type_.element = Shape.ANY, UNTYPED

    def _fill_map(self, type_: Type, schema: Mapping[str, Any], name: str) -> None:
        properties, others = schema.get("properties"), schema.get("additionalProperties")
        if isinstance(properties, Mapping) and properties:
            type_.shape = Shape.STRUCT
            type_.fields = {field: self.of(each) for field, each in properties.items()}
            required = {f for f in schema.get("required") or () if _is_inner(properties.get(f))}
            type_.always = frozenset(required | _ALWAYS_OF.get(name, set())) | (
                _ALWAYS & properties.keys()
            )
        else:
            type_.shape = Shape.MAP
        if isinstance(others, Mapping):
            type_.element = self.of(others)
        elif schema.get(_PRESERVE) or others is True:
            type_.element = UNTYPED
        elif type_.shape is Shape.MAP:
            type_.element = OPAQUE
        if schema.get(_MAP_TYPE) == "atomic":
            type_.shape = Shape.ATOMIC_MAP

    def _fill_list(self, type_: Type, schema: Mapping[str, Any]) -> None:
        items = schema.get("items")
        items = items if isinstance(items, Mapping) else {}
        type_.element = self.of(items)
        shape, keys = _list_shape(schema)
        type_.shape, type_.keys = shape, keys
        if shape is Shape.KEYED:
            reference = _reference(items)
            resolved = self._definitions.get(reference, {}) if reference else items
            properties = resolved.get("properties") or {}
            defaults = dict(_KEY_DEFAULTS.get(reference or "", {}))
            for key in keys:
                if "default" in (properties.get(key) or {}):
                    defaults[key] = properties[key]["default"]
            type_.defaults = defaults


def _list_shape(schema: Mapping[str, Any]) -> tuple[Shape, tuple[str, ...]]:
    said = schema.get(_LIST_TYPE)
    if said == "map" and schema.get(_LIST_KEYS):
        return Shape.KEYED, tuple(sorted(schema[_LIST_KEYS]))
    if said == "set":
        return Shape.SET, ()
    if said is None and "merge" in str(schema.get(_STRATEGY, "")).split(","):
        key = schema.get(_MERGE_KEY)
        return (Shape.KEYED, (key,)) if key else (Shape.SET, ())
    return Shape.ATOMIC_LIST, ()


def _kind(schema: Mapping[str, Any]) -> str:
    """The one type of a schema that is not null; "scalar" for a choice of scalars."""
    if schema.get("x-kubernetes-int-or-string"):
        return "scalar"
    kinds = set(_kinds(schema))
    if len(kinds) > 1 and kinds <= _SCALARS:
        return "scalar"
    return kinds.pop() if len(kinds) == 1 else ""


def _kinds(schema: Mapping[str, Any]) -> Iterator[str]:
    said = schema.get("type")
    names = [said] if isinstance(said, str) else said or ()
    yield from (name for name in names if name != "null")
    if said is None:
        for choice in (*(schema.get("oneOf") or ()), *(schema.get("anyOf") or ())):
            yield from (kind for kind in _kinds(choice) if kind != "null")


def _scalar(kind: str) -> str:
    return "number" if kind == "integer" else kind


def _is_inner(schema: Any) -> bool:
    """Whether a field is no scalar, so that it exists empty."""
    return isinstance(schema, Mapping) and (
        _reference(schema) is not None or _kind(schema) in ("array", "object")
    )


def _reference(schema: Mapping[str, Any]) -> str | None:
    said = schema.get("$ref")
    if not isinstance(said, str):
        return None
    for prefix in _REFERENCES:
        if said.startswith(prefix):
            return said.removeprefix(prefix)
    return said


def _atomic(type_: Type) -> Type:
    result = Type(Shape.ATOMIC_MAP)
    result.fields, result.element = type_.fields, type_.element
    return result
