"""Objects as requests carry them: a Struct or JSON bytes, read with bounds.

A Struct knows only doubles, so a number without a fraction is taken as an integer.
"""

from __future__ import annotations

import math
from typing import Any

import orjson
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from kubraft.api.errors import BadRequestError

BODY_BYTES_MAX = 3 * 1024 * 1024
REPEATED_MAX = 16
DEPTH_MAX = 64
_INTEGER_MAX = 2**53

Json = dict[str, Any]


def read_json(raw: bytes, *, strict: bool) -> Any:
    """Decode JSON bytes.

    Args:
        strict: refuse objects that name a field twice; else the last one counts.

    Raises:
        BadRequestError: not UTF-8, not JSON, or nested too deeply.
    """
    try:
        value = orjson.loads(raw)
    except ValueError as error:
        raise BadRequestError(f"the body is not valid JSON: {error}") from error
    if raw.count(b"{") + raw.count(b"[") > DEPTH_MAX:
        check_depth(value)
    if strict and (found := repeated_fields(raw, value)):
        raise BadRequestError(f"strict decoding error: {', '.join(found)}")
    return _with_integers(value) if b".0" in raw else value


def read_object(raw: bytes, *, strict: bool) -> Json:
    """As `read_json`, for what must be an object."""
    value = read_json(raw, strict=strict)
    if not isinstance(value, dict):
        raise BadRequestError("the body must be a JSON object")
    return value


def from_struct(struct: Struct, depth: int = 0) -> Json:
    """A Struct as JSON values.

    Raises:
        BadRequestError: nested too deeply, or with a number that JSON cannot say.
    """
    if depth > DEPTH_MAX:
        raise _too_deep()
    return {name: _from_value(value, depth + 1) for name, value in struct.fields.items()}


def to_struct(obj: Json) -> Struct:
    """JSON values as a Struct."""
    struct = Struct()
    struct.update(obj)
    return struct


def check_depth(value: Any) -> None:
    """Raises BadRequestError where `value` nests deeper than `DEPTH_MAX`."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise _too_deep()


def _from_value(value: Value, depth: int) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "struct_value":
        return from_struct(value.struct_value, depth)
    if kind == "number_value":
        return _number(value.number_value)
    if kind == "list_value":
        return _from_list(value.list_value, depth)
    return value.bool_value if kind == "bool_value" else None


def _from_list(values: ListValue, depth: int) -> list[Any]:
    if depth > DEPTH_MAX:
        raise _too_deep()
    return [_from_value(value, depth + 1) for value in values.values]


def _with_integers(value: Any) -> Any:
    """80.0 is 80, as in a Struct: readers in other languages insist on integers."""
    if isinstance(value, dict):
        return {name: _with_integers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    return _number(value) if isinstance(value, float) else value


def _number(number: float) -> float:
    if not math.isfinite(number):
        raise BadRequestError("the object holds a number that JSON cannot say")
    if number.is_integer() and abs(number) <= _INTEGER_MAX:
        return int(number)
    return number


def _too_deep() -> BadRequestError:
    return BadRequestError(f"the object is nested deeper than {DEPTH_MAX} levels")


def repeated_fields(raw: bytes, value: Any) -> list[str]:
    """What is to be said of fields that JSON names twice; `value` is what `raw` was read as."""
    if orjson.dumps(value) == raw.rstrip():
        return []
    import json  # noqa: PLC0415 - only for bodies that are not in canonical form

    found: list[str] = []
    todo = [("", json.loads(raw, object_pairs_hook=_Pairs))]
    while todo and len(found) < REPEATED_MAX:
        path, holder = todo.pop()
        seen: set[str] = set()
        inner: list[tuple[str, Any]] = []
        if not isinstance(holder, _Pairs):
            inner = [(f"{path}[{index}]", item) for index, item in enumerate(holder)]
        else:
            for name, item in holder:
                at = f"{path}.{name}" if path else name
                if name in seen:
                    found.append(f'duplicate field "{at}"')
                seen.add(name)
                inner.append((at, item))
        todo += [each for each in reversed(inner) if isinstance(each[1], list)]
    return found[:REPEATED_MAX]


class _Pairs(list[tuple[str, Any]]):
    """An object with all that it names."""
