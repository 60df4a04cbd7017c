"""The slow path of decoding: walks an object along its definition and says what is wrong where.

As decoding in Go does: a null is an absent field, a field of the wrong type refuses the whole
object, and unknown fields are reported or dropped. Required fields are left to validation, but in
status, where an absent one reads as its type's zero value.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from apiserver.schema.definitions import Schema, reference
from apiserver.schema.strict import (
    INT_ANY,
    INT_BITS,
    JSON_SCHEMA,
    MICRO_TIME,
    OR_SCHEMA,
    QUANTITY,
    TIME,
    TIME_PATTERN,
    type_of,
)
from kubraft.api.quantity import parse_quantity
from kubraft.api.time import parse_time

_ZERO: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}
_GO_TYPES = {"string": "string", "boolean": "bool", "integer": "int64", "number": "float64"}
_TIME = re.compile(TIME_PATTERN)
# So many unknown fields are named; an object made of nonsense would fill the message.
UNKNOWN_FIELDS_MAX = 16


class TypeMismatchError(ValueError):
    """A field has the wrong type; the text is Go's."""


@dataclass(slots=True)
class _Place:
    """Where the walk is: the path with indices, the path as Go prints it, and the struct's name."""

    path: str = ""
    go_path: str = ""
    struct: str = ""
    in_status: bool = False

    def child(self, name: str) -> _Place:
        path = f"{self.path}.{name}" if self.path else name
        go_path = f"{self.go_path}.{name}" if self.go_path else name
        return _Place(path, go_path, self.struct, self.in_status or path == "status")

    def item(self, index: int) -> _Place:
        return _Place(f"{self.path}[{index}]", self.go_path, self.struct, self.in_status)


@dataclass(slots=True)
class Decoder:
    """Decodes one object; `unknown` collects the paths of unknown fields."""

    definitions: dict[str, Schema]
    unknown: list[str] = field(default_factory=list)

    def decode(self, root: str, obj: Any) -> Any:
        """A copy of `obj` without nulls and unknown fields.

        Raises:
            TypeMismatchError: a field has the wrong type.
        """
        return self._value({"$ref": f"#/$defs/{root}"}, obj, _Place())

    def _value(self, schema: Schema, value: Any, place: _Place) -> Any:
        if (name := reference(schema)) is not None:
            if (special := _SPECIAL.get(name)) is not None:
                return special(value, place)
            if name in OR_SCHEMA and isinstance(value, dict):
                name = JSON_SCHEMA
            place = _Place(place.path, place.go_path, name.rpartition(".")[2], place.in_status)
            return self._value(self.definitions[name], value, place)
        match type_of(schema):
            case "object":
                return self._object(schema, value, place)
            case "array":
                if not isinstance(value, list):
                    raise _mismatch(value, place, "[]" + self._go_type(schema.get("items", {})))
                items = schema.get("items", {})
                return [
                    self._item(items, item, place.item(index)) for index, item in enumerate(value)
                ]
            case "":
                return value
            case type_:
                return _scalar(type_, schema.get("format", ""), value, place)

    def _item(self, schema: Schema, value: Any, place: _Place) -> Any:
        if value is not None:
            return self._value(schema, value, place)
        name = reference(schema)
        if name in _SPECIAL_ZERO:
            return _SPECIAL_ZERO[name]
        target = self.definitions[name] if name else schema
        type_ = type_of(target)
        return [] if type_ == "array" else _ZERO.get(type_, {})

    def _object(self, schema: Schema, value: Any, place: _Place) -> Any:
        if not isinstance(value, dict):
            raise _mismatch(value, place, f"v1.{place.struct}" if place.struct else "map[string]")
        if "properties" in schema:
            return self._struct(schema, value, place)
        values = schema.get("additionalProperties")
        if not isinstance(values, dict):
            return value
        return {key: self._item(values, item, place.child(key)) for key, item in value.items()}

    def _struct(self, schema: Schema, value: dict[str, Any], place: _Place) -> dict[str, Any]:
        properties = schema["properties"]
        result: dict[str, Any] = {}
        for key, item in value.items():
            if key not in properties:
                self.unknown.append(place.child(key).path)
            elif item is not None:
                result[key] = self._value(properties[key], item, place.child(key))
        if place.in_status:
            for key in schema.get("required", ()):
                zero = _ZERO.get(type_of(properties[key]))
                if key not in result and zero is not None:
                    result[key] = zero
        return result

    def _go_type(self, schema: Schema) -> str:
        name = reference(schema)
        if name:
            return f"v1.{name.rpartition('.')[2]}"
        return _GO_TYPES.get(type_of(schema), "")

    def missing(self, root: str, obj: Any) -> list[str]:
        """Paths of required fields that `obj` lacks; status is not looked at."""
        schema: Schema = {"$ref": f"#/$defs/{root}"}
        return list(self._missing(schema, obj, _Place()))

    def _missing(self, schema: Schema, value: Any, place: _Place) -> Iterator[str]:
        if (name := reference(schema)) is not None:
            if name in _SPECIAL:
                return
            schema = self.definitions[name]
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from self._missing(schema.get("items", {}), item, place.item(index))
        elif isinstance(value, dict):
            properties = schema.get("properties", {})
            for key in schema.get("required", ()):
                if key not in value:
                    yield place.child(key).path
            others = schema.get("additionalProperties")
            others = others if isinstance(others, dict) else {}
            for key, item in value.items():
                if key != "status" or place.path:
                    yield from self._missing(properties.get(key, others), item, place.child(key))


def _scalar(type_: str, format_: str, value: Any, place: _Place) -> Any:
    go_type = format_ if format_ in INT_BITS else _GO_TYPES[type_]
    if type_ == "string":
        if not isinstance(value, str):
            raise _mismatch(value, place, go_type)
        if format_ == "byte":
            _check_base64(value)
    elif type_ == "boolean":
        if not isinstance(value, bool):
            raise _mismatch(value, place, go_type)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _mismatch(value, place, go_type)
    elif type_ == "integer":
        bits = INT_BITS.get(format_, 64)
        if value != int(value) or not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise _mismatch(value, place, go_type, f"number {value}")
        return int(value)
    return value


def _check_base64(value: str) -> None:
    try:
        b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        position = next(
            (i for i, sign in enumerate(value) if not (sign.isalnum() or sign in "+/=")), len(value)
        )
        raise TypeMismatchError(f"illegal base64 data at input byte {position}") from error


def _int_or_string(value: Any, place: _Place) -> Any:
    if isinstance(value, str):
        return value
    return _scalar("integer", "int32", value, place)


def _quantity(value: Any, place: _Place) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _mismatch(value, place, "resource.Quantity")
    try:
        parse_quantity(value)
    except ValueError as error:
        raise TypeMismatchError(str(error)) from error
    return value


def _time(value: Any, place: _Place) -> Any:
    if not isinstance(value, str):
        raise _mismatch(value, place, "v1.Time")
    if _is_time(value):
        return value
    layout = "2006-01-02T15:04:05Z07:00"
    raise TypeMismatchError(
        f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"'
    )


def _is_time(text: str) -> bool:
    try:
        parse_time(text)
    except ValueError:
        return False
    return _TIME.match(text) is not None


_SPECIAL_ZERO: dict[str | None, Any] = {INT_ANY: 0, QUANTITY: "0"}
_SPECIAL = {INT_ANY: _int_or_string, QUANTITY: _quantity, TIME: _time, MICRO_TIME: _time}


def _mismatch(value: Any, place: _Place, go_type: str, shown: str = "") -> TypeMismatchError:
    target = f"Go struct field {place.struct}.{place.go_path}" if place.go_path else "Go value"
    return TypeMismatchError(
        f"json: cannot unmarshal {shown or _json_type(value)} into {target} of type {go_type}"
    )


def _json_type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case dict():
            return "object"
    return "null"
