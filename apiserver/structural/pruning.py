"""Drops the fields that a structural schema does not specify.

Source: Kubernetes documentation, "Field pruning"; upstream's structural pruning.
"""

from __future__ import annotations

from typing import Any

from apiserver.structural.schema import (
    EMBEDDED,
    EMPTY,
    META_FIELDS,
    PRESERVES,
    Schema,
    additional_of,
    child_path,
    items_of,
    properties_of,
)


def prune(obj: dict[str, Any], schema: Schema) -> list[str]:
    """Drop from a whole object, in place, what `schema` does not know; metadata stays.

    Returns:
        The paths that went, sorted.
    """
    dropped: list[str] = []
    _prune(obj, {**schema, EMBEDDED: True}, "", dropped)
    return sorted(dropped)


def prune_value(value: Any, schema: Schema) -> list[str]:
    """As `prune`, for a part of an object (a default)."""
    dropped: list[str] = []
    _prune(value, schema, "", dropped)
    return sorted(dropped)


def _prune(value: Any, schema: Schema | None, path: str, dropped: list[str]) -> None:
    if isinstance(value, dict):
        _prune_object(value, schema, path, dropped)
    elif isinstance(value, list):
        item = None if schema is None else items_of(schema)
        if schema is not None and schema.get(PRESERVES) and not item:
            return
        for index, each in enumerate(value):
            _prune(each, item, f"{path}[{index}]", dropped)


def _prune_object(
    value: dict[str, Any], schema: Schema | None, path: str, dropped: list[str]
) -> None:
    schema = EMPTY if schema is None else schema
    keeps, embedded = bool(schema.get(PRESERVES)), bool(schema.get(EMBEDDED))
    properties, additional = properties_of(schema), additional_of(schema)
    for name in list(value):
        if embedded and name in META_FIELDS:
            continue
        known = properties.get(name, additional)
        if known is not None:
            _prune(value[name], known or None, child_path(path, name), dropped)
        elif not keeps:
            dropped.append(child_path(path, name))
            del value[name]
