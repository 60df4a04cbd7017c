"""Fills in what a structural schema has defaults for, and drops nulls that cannot stay.

Source: Kubernetes documentation, "Defaulting and Nullable"; upstream's structural defaulting.
"""

from __future__ import annotations

from typing import Any

from apiserver.structural.schema import EMPTY, Schema, additional_of, items_of, properties_of


def has_defaults(schema: Schema) -> bool:
    """Whether defaulting by `schema` can change anything."""
    if schema.get("default") is not None:
        return True
    children = [*properties_of(schema).values(), items_of(schema), additional_of(schema) or EMPTY]
    return any(has_defaults(child) for child in children if child)


def default(value: Any, schema: Schema) -> None:
    """Drop nulls that are neither allowed nor defaulted, then fill in defaults, in place."""
    _prune_nulls(value, schema)
    _default(value, schema)


def _prune_nulls(value: Any, schema: Schema) -> None:
    if isinstance(value, dict):
        properties, additional = properties_of(schema), additional_of(schema)
        for name in list(value):
            known = properties.get(name, additional)
            if known is None:
                continue
            if _may_go(value[name], known):
                del value[name]
            else:
                _prune_nulls(value[name], known)
    elif isinstance(value, list):
        item = items_of(schema)
        for each in value:
            _prune_nulls(each, item)


def _may_go(value: Any, schema: Schema) -> bool:
    """Whether a field is a null that its schema does not allow and has nothing to put in for."""
    if value is not None or not schema or schema.get("nullable"):
        return False
    return schema.get("default") is None


def _default(value: Any, schema: Schema) -> None:
    if isinstance(value, dict):
        properties, additional = properties_of(schema), additional_of(schema)
        for name, known in properties.items():
            fallback = known.get("default")
            if fallback is not None and (name not in value or _is_bad_null(value[name], known)):
                value[name] = _copy(fallback)
        for name in value:
            inner = properties.get(name, additional)
            if inner:
                if _is_bad_null(value[name], inner) and inner.get("default") is not None:
                    value[name] = _copy(inner["default"])
                _default(value[name], inner)
    elif isinstance(value, list) and (item := items_of(schema)):
        for index, each in enumerate(value):
            if _is_bad_null(each, item) and item.get("default") is not None:
                value[index] = _copy(item["default"])
            _default(value[index], item)


def _is_bad_null(value: Any, schema: Schema) -> bool:
    return value is None and not schema.get("nullable")


def _copy(value: Any) -> Any:
    """A copy that shares nothing that can change."""
    if isinstance(value, dict):
        return {name: _copy(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_copy(each) for each in value]
    return value
