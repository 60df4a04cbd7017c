"""How a structural schema is read: its parts, and the extensions that change what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

EMPTY: Final[Schema] = {}
META_FIELDS: Final = ("apiVersion", "kind", "metadata")
PRESERVES: Final = "x-kubernetes-preserve-unknown-fields"
EMBEDDED: Final = "x-kubernetes-embedded-resource"
INT_OR_STRING: Final = "x-kubernetes-int-or-string"
LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_KEYS: Final = "x-kubernetes-list-map-keys"
MAP_TYPE: Final = "x-kubernetes-map-type"
RULES: Final = "x-kubernetes-validations"


def properties_of(schema: Schema) -> Mapping[str, Schema]:
    """The schemas of the fields that are specified by name."""
    found: Mapping[str, Schema] = schema.get("properties") or EMPTY
    return found


def additional_of(schema: Schema) -> Schema | None:
    """The schema of all other fields; None where there may be none, empty where it may be any."""
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        return additional
    return EMPTY if additional is True else None


def items_of(schema: Schema) -> Schema:
    """The schema of a list's items."""
    items = schema.get("items")
    return items if isinstance(items, dict) else EMPTY


def child_path(path: str, name: str) -> str:
    """The path of a field, as messages write it."""
    return f"{path}.{name}" if path else name
