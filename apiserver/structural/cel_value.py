"""JSON values as rules see them: typed by their schema, with only the fields that it specifies.

Source: Kubernetes documentation, "Validation rules" (types, escaping of names).
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from apiserver.structural.formats import normal
from apiserver.structural.schema import (
    EMBEDDED,
    PRESERVES,
    Schema,
    additional_of,
    items_of,
    properties_of,
)
from kubraft.api.time import parse_time

_RESERVED: Final = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for"),
        *("function", "if", "import", "let", "loop", "package", "namespace", "return", "var"),
        *("void", "while"),
    )
)
_ESCAPES: Final = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"),
                   ("/", "__slash__"))  # fmt: skip
_METADATA: Final[Schema] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
}
_OBJECT: Final = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": _METADATA,
}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|\u00b5s|ms|s|m|h)")
_NANOS = {"ns": 1, "us": 10**3, "\u00b5s": 10**3, "ms": 10**6, "s": 10**9, "m": 6 * 10**10}
_NANOS |= {"h": 36 * 10**11}


def escaped(name: str) -> str:
    """A field's name as expressions write it."""
    if name in _RESERVED:
        return f"__{name}__"
    for sign, escape in _ESCAPES:
        name = name.replace(sign, escape)
    return name


def fields_of(schema: Schema, *, root: bool = False) -> dict[str, Schema]:
    """The fields that expressions may name, by their names in the object."""
    if root or schema.get(EMBEDDED):
        return {**properties_of(schema), **_OBJECT}
    return dict(properties_of(schema))


def cel_value(value: Any, schema: Schema, *, root: bool = False) -> Any:
    """A value for the evaluator."""
    if isinstance(value, dict):
        additional, fields = additional_of(schema), fields_of(schema, root=root)
        if additional is not None and not properties_of(schema):
            return {name: cel_value(each, additional) for name, each in value.items()}
        if not fields and schema.get(PRESERVES):
            return value
        return {
            escaped(name): cel_value(each, fields[name])
            for name, each in value.items()
            if name in fields
        }
    if isinstance(value, list):
        items = items_of(schema)
        return [cel_value(each, items) for each in value]
    if isinstance(value, str) and schema.get("format"):
        return _formatted(value, normal(schema["format"]))
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _formatted(text: str, name: str) -> Any:
    make = _MAKERS.get(name)
    if make is None:
        return text
    try:
        return make(text)
    except (ValueError, binascii.Error, OverflowError):
        return text  # the format's own cause is said elsewhere


def _time(text: str) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(parse_time(text))
    return made


def _date(text: str) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC))
    return made


def _duration(text: str) -> Duration:
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    parts = _DURATION.findall(body)
    if "".join(number + unit for number, unit in parts) != body:
        raise ValueError("no duration")
    made = Duration()
    made.FromNanoseconds(sign * sum(int(float(n) * _NANOS[unit]) for n, unit in parts))
    return made


_MAKERS: dict[str, Callable[[str], Any]] = {
    "datetime": _time,
    "date": _date,
    "duration": _duration,
    "byte": lambda text: base64.b64decode(text, validate=True),
}
