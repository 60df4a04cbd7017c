"""How custom objects print: the columns that their definition names.

Source: Kubernetes documentation, "Additional printer columns"; upstream's conversion to tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import orjson

from apiserver.registry import cells
from apiserver.registry.resource import Column, Columns
from apiserver.structural.json_path import Path, compile_path, find
from kubraft.api.duration import age
from kubraft.api.object import Object
from kubraft.api.time import parse_time

Cell = Callable[[Object, datetime], Any]
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_AGE_DESCRIPTION = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. "
    "It is not guaranteed to be set in happens-before order across separate operations. Clients "
    "may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the "
    "system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)


def columns_of(printed: Sequence[dict[str, Any]]) -> Columns:
    """The name, and the columns of `additionalPrinterColumns`; the age where there are none."""
    definitions, makers = [cells.NAME], []
    for each in printed or [{**_AGE, "description": _AGE_DESCRIPTION}]:
        path, type_ = each["jsonPath"], each["type"]
        description = f"Custom resource definition column (in JSONPath format): {path}"
        definitions.append(
            Column(
                each["name"],
                type_,
                each.get("priority", 0),
                each.get("format", ""),
                each.get("description") or description,
            )
        )
        try:
            makers.append(_cell(compile_path(path), type_))
        except ValueError:  # what kubectl's JSONPath can and ours cannot say shows nothing
            makers.append(_nothing)

    def row(obj: Object, now: datetime) -> list[Any]:
        return [obj["metadata"]["name"], *(make(obj, now) for make in makers)]

    return Columns(tuple(definitions), row)


def _nothing(obj: Object, now: datetime) -> Any:
    del obj, now


def _cell(path: Path, type_: str) -> Cell:
    def cell(obj: Object, now: datetime) -> Any:
        found = find(path, obj)
        return shown(found[0], type_, now) if found else None

    return cell


def shown(value: Any, type_: str, now: datetime) -> Any:
    """A value as a cell of its column's type; None where it has another."""
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match type_:
        case "integer":
            return int(value) if number else None
        case "number":
            return float(value) if number else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            return _since(value, now) if isinstance(value, str) else None
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return orjson.dumps(value).decode()


def _since(value: str, now: datetime) -> str:
    try:
        parse_time(value)
    except ValueError:
        return "<invalid>"
    return age(value, now)
