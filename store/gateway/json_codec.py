"""Protobuf messages as the JSON of etcd's gateway, both ways.

Names are those of the .proto files (camelCase is read too), 64-bit numbers are strings, bytes are
base64, enum values their names, fields at their default are left out. What is refused, and with
which words, is what etcd's Go libraries refuse: protobuf's own `json_format` takes floats for
whole numbers, base64 without padding or of the URL alphabet and enum numbers in quotes, has other
words for all errors, and takes two to three times as long. Pure.

Source: Protocol Buffers, JSON mapping; golang/protobuf, jsonpb; Go, encoding/json.
"""

from __future__ import annotations

import json
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import orjson
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from store.gateway.json_syntax import JsonError, base64_fault, syntax_fault

# More than any request of a reasonable size has; each costs far more than its bytes.
ITEMS_MAX = 65_536
_DEPTH_MAX = 64

_BOOL, _BYTES, _STRING = FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_BYTES, 9
_ENUM, _MESSAGE = FieldDescriptor.TYPE_ENUM, FieldDescriptor.TYPE_MESSAGE
_WIDE = frozenset((FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64))
# Go's name and the bounds of each kind of number.
_INTEGERS = {
    FieldDescriptor.TYPE_INT64: ("int64", -(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_UINT64: ("uint64", 0, (1 << 64) - 1),
    FieldDescriptor.TYPE_INT32: ("int32", -(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_UINT32: ("uint32", 0, (1 << 32) - 1),
    FieldDescriptor.TYPE_ENUM: ("protoreflect.EnumNumber", -(1 << 31), (1 << 31) - 1),
}
_OBJECT, _LIST = "map[string]json.RawMessage", "[]json.RawMessage"

Write = Callable[[Any], Any]


class _Number(str):
    """A number that is no plain integer of a moderate size, as it was written."""

    __slots__ = ()


def _integer(text: str) -> int | _Number:
    return int(text) if len(text) <= 20 else _Number(text)


def _constant(text: str) -> None:
    raise ValueError(text)  # NaN and Infinity are no JSON


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_Number, parse_constant=_constant)
_SPACE = " \t\r\n"


# Out.


def encode(message: Message) -> bytes:
    """The message as one line of JSON."""
    data = orjson.dumps(_object(message))
    # As Go writes these; they stand in strings only.
    if b"<" in data or b">" in data or b"&" in data:
        data = data.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    return data


def quoted(text: str) -> bytes:
    """A string as JSON."""
    data = orjson.dumps(text)
    return data.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def _object(message: Message) -> dict[str, Any]:
    writers = _writers(message.DESCRIPTOR)
    found = {}
    for field, value in message.ListFields():
        name, write = writers[field.number]
        found[name] = write(value)
    return found


@cache
def _writers(descriptor: Descriptor) -> dict[int, tuple[str, Write]]:
    return {field.number: (field.name, _writer(field)) for field in descriptor.fields}


def _writer(field: FieldDescriptor) -> Write:
    one: Write
    if field.type == _MESSAGE:
        one = _object
    elif field.type == _BYTES:
        one = _base64
    elif field.type == _ENUM:
        names = {value.number: value.name for value in _enum(field).values}
        one = lambda number: names.get(number, number)  # noqa: E731
    elif field.type in _WIDE:
        one = str
    else:
        one = _same
    return (lambda values: [one(value) for value in values]) if field.is_repeated else one


def _enum(field: FieldDescriptor) -> EnumDescriptor:
    assert field.enum_type is not None, "a field of that type has one"
    return field.enum_type


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _same(value: Any) -> Any:
    return value


# In.


def parse(text: str) -> Any:
    """The first JSON value of the text; what follows it is not looked at, as in etcd.

    Raises:
        JsonError: it has none, in Go's words.
    """
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, _ = _DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise JsonError("exceeded max depth") from error
    except ValueError as error:
        raise JsonError(syntax_fault(text, start)) from error
    return value


def decode(value: Any, message: Message) -> None:
    """Fill the empty message from a parsed JSON value; fields it does not know are left out.

    Raises:
        JsonError: a field cannot be what it is there, in Go's words.
    """
    _fill(message, value, _Budget())


class _Budget:
    """What one request may still hold of messages and list items."""

    def __init__(self) -> None:
        self._left = ITEMS_MAX

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise JsonError(f"more than {ITEMS_MAX} items in a request")


def _fill(message: Message, value: Any, budget: _Budget) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise _misfit(value, _OBJECT)
    for field, content in _present(message, value):
        if field.type == _MESSAGE:
            for one, target in _messages(message, field, content, budget):
                _fill(target, one, budget)
        elif field.is_repeated:
            items = _items(content, budget)
            getattr(message, field.name).extend([_scalar(field, item) for item in items])
        else:
            setattr(message, field.name, _scalar(field, content))


def _present(message: Message, value: dict[str, Any]) -> Iterator[tuple[FieldDescriptor, Any]]:
    """Fields with what they shall be, in the order of the .proto file."""
    for name, camel, field in _names(message.DESCRIPTOR):
        content = value.get(camel)
        if content is None:
            content = value.get(name)
        if content is not None:
            yield field, content


@cache
def _names(descriptor: Any) -> tuple[tuple[str, str, FieldDescriptor], ...]:
    return tuple((field.name, field.camelcase_name, field) for field in descriptor.fields)


def _messages(
    message: Message, field: FieldDescriptor, content: Any, budget: _Budget
) -> Iterator[tuple[Any, Message]]:
    if not field.is_repeated:
        target = getattr(message, field.name)
        target.SetInParent()
        yield content, target
        return
    for item in _items(content, budget):
        yield item, getattr(message, field.name).add()


def _items(content: Any, budget: _Budget) -> list[Any]:
    if not isinstance(content, list):
        raise _misfit(content, _LIST)
    budget.spend(len(content))
    return content


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.type == _BYTES:
        return _bytes(value)
    if field.type == _STRING:
        return _text(value, "string")
    if field.type == _BOOL:
        if value is None:
            return False
        if not isinstance(value, bool):
            raise _misfit(value, "bool")
        return value
    if field.type == _ENUM and isinstance(value, str) and not isinstance(value, _Number):
        kind = _enum(field)
        found = kind.values_by_name.get(value)
        if found is None:
            literal = quoted(quoted(value).decode()).decode()
            raise JsonError(f"unknown value {literal} for enum {kind.full_name}")
        return found.number
    return _whole_number(field, value)


def _whole_number(field: FieldDescriptor, value: Any) -> int:
    name, least, most = _INTEGERS[field.type]
    if isinstance(value, str) and not isinstance(value, _Number):
        if not value.strip(_SPACE):
            raise JsonError("unexpected end of JSON input")
        text = value
        value = parse(text)
        rest = text[_end_of_number(text) :].lstrip(_SPACE)
        if rest:
            raise JsonError(f"invalid character {_shown(rest[0])} after top-level value")
    if value is None:
        return 0
    if isinstance(value, _Number) or (type(value) is int and not least <= value <= most):
        raise JsonError(f"json: cannot unmarshal number {value} into Go value of type {name}")
    if type(value) is not int:
        raise _misfit(value, name)
    return value


def _end_of_number(text: str) -> int:
    start = len(text) - len(text.lstrip(_SPACE))
    return _DECODER.raw_decode(text, start)[1]


def _shown(character: str) -> str:
    return repr(character) if character != "'" else "'\\''"


def _text(value: Any, kind: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or isinstance(value, _Number):
        raise _misfit(value, kind)
    # Half of a surrogate pair is no character.
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _bytes(value: Any) -> bytes:
    text = _text(value, "[]uint8").replace("\n", "").replace("\r", "")
    try:
        return a2b_base64(text, strict_mode=True)
    except (Base64Error, ValueError) as error:
        raise JsonError(base64_fault(_text(value, ""))) from error


def _misfit(value: Any, kind: str) -> JsonError:
    if isinstance(value, bool):
        found = "bool"
    elif isinstance(value, int | _Number):
        found = "number"
    elif isinstance(value, str):
        found = "string"
    else:
        found = "array" if isinstance(value, list) else "object"
    return JsonError(f"json: cannot unmarshal {found} into Go value of type {kind}")
