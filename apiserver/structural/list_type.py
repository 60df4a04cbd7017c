"""Lists that are sets or maps: their items, or their items' keys, come once.

Source: Kubernetes documentation, "Merge strategy" of x-kubernetes-list-type; upstream's texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from apiserver.registry.causes import duplicate, invalid
from apiserver.structural.schema import (
    LIST_KEYS,
    LIST_TYPE,
    Schema,
    additional_of,
    child_path,
    items_of,
    properties_of,
)
from kubraft.api.errors import Cause


def uniqueness_causes(value: Any, schema: Schema, path: str = "") -> list[Cause]:
    """Each item that stands twice where it must not, at its second place."""
    return list(_causes(value, schema, path))


def _causes(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    if isinstance(value, dict):
        properties, additional = properties_of(schema), additional_of(schema)
        for name, each in value.items():
            if name in properties:
                yield from _causes(each, properties[name], child_path(path, name))
            elif additional:
                yield from _causes(each, additional, f"{path}[{name}]")
    elif isinstance(value, list):
        kind = schema.get(LIST_TYPE)
        if kind == "set":
            yield from _doubles(path, value, value)
        elif kind == "map":
            yield from _map_causes(path, value, schema.get(LIST_KEYS) or ())
        item = items_of(schema)
        if item:
            for index, each in enumerate(value):
                yield from _causes(each, item, f"{path}[{index}]")


def _map_causes(path: str, value: list[Any], names: Any) -> Iterator[Cause]:
    for index, item in enumerate(value):
        if item is not None and not isinstance(item, dict):
            rule = "must be an object for an array of list-type map"
            yield invalid(f"{path}[{index}]", item, rule)
            return
    keys = [{name: item[name] for name in names if item and name in item} for item in value]
    yield from _doubles(path, keys, keys)


def _doubles(path: str, value: list[Any], shown: list[Any]) -> Iterator[Cause]:
    seen: dict[bytes, int] = {}
    for index, item in enumerate(value):
        key = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 2:  # named once, however often it comes again
            yield duplicate(f"{path}[{index}]", shown[index])
