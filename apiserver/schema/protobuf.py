"""Kubernetes' binary form of objects, read into the JSON form. Pure.

An object is a magic number and a runtime.Unknown, which holds its kind and the message itself. What
the fields of messages are is a table (scripts/protobuf_fields.py made it). Go writes every field
that is no pointer, so an empty one stands for an absent one, unless it is a pointer.

Source: Kubernetes documentation, "API concepts", Protobuf encoding; Protocol Buffers encoding.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

MAGIC = b"k8s\0"
DEPTH_MAX = 64
FIELDS_MAX = 200_000
_TABLE = Path(__file__).with_name("protobuf_fields.txt")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MalformedError(ValueError):
    """The bytes are no such message."""


class Field(NamedTuple):
    """One field of a message; an empty `name` puts its own fields into the message around it."""

    name: str
    type: str
    pointer: bool = False
    repeated: bool = False
    keyed: bool = False
    # A message whose only field is the list that JSON has in its place.
    listed: bool = False


def decode(raw: bytes) -> dict[str, Any]:
    """An object with its kind, from its magic number on.

    Raises:
        MalformedError: it is no object, or of a kind that is not in the table.
    """
    if raw[:4] != MAGIC:
        raise MalformedError("the body does not begin with k8s")
    reader = _Reader()
    api_version = kind = ""
    content = b""
    for number, value in reader.fields(raw[4:]):
        if number == 1 and isinstance(value, bytes):
            for inner, text in reader.fields(value):
                if inner == 1 and isinstance(text, bytes):
                    api_version = _text(text)
                elif inner == 2 and isinstance(text, bytes):
                    kind = _text(text)
        elif number == 2 and isinstance(value, bytes):
            content = value
        elif number == 3 and value:
            raise MalformedError("an encoded message is not read")
    obj = reader.message(_message_of(api_version, kind), content, 0)
    return {"apiVersion": api_version, "kind": kind, **obj}


def _message_of(api_version: str, kind: str) -> str:
    whole, _, version = api_version.rpartition("/")
    group = whole.partition(".")[0] + ("" if version == "v1" else version)
    name = "meta.DeleteOptions" if kind == "DeleteOptions" else f"{group or 'core'}.{kind}"
    if name not in _table():
        raise MalformedError(
            f'no kind "{kind[:64]}" is registered for version "{api_version[:64]}"'
        )
    return name


@cache
def _table() -> dict[str, dict[int, Field]]:
    table = {}
    for line in _TABLE.read_text(encoding="ascii").splitlines():
        name, _, fields = line.partition(": ")
        parts = (field.split(" ") for field in fields.split("; "))
        table[name] = {int(number): _field(json, type_) for number, json, type_ in parts}
    return table


def _field(name: str, text: str) -> Field:
    pointer = text.startswith("*")
    text = text.removeprefix("*")
    keyed, text = text.startswith("{}"), text.removeprefix("{}")
    repeated, text = text.startswith("[]"), text.removeprefix("[]")
    text = text.removeprefix("*")
    listed, text = text.startswith("<>"), text.removeprefix("<>")
    return Field("" if name == "^" else name, text, pointer, repeated, keyed, listed)


class _Reader:
    """Reads one body; counts its fields, so that a small one cannot be much work."""

    def __init__(self) -> None:
        self._left = FIELDS_MAX

    def fields(self, raw: bytes) -> Iterator[tuple[int, int | bytes]]:
        """Numbers and values of a message; those of fixed width are their bytes."""
        at, end = 0, len(raw)
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise MalformedError("the object has too many fields")
            tag, at = _varint(raw, at)
            value: int | bytes
            match tag & 7:
                case 0:
                    value, at = _varint(raw, at)
                case 2:
                    size, at = _varint(raw, at)
                    value, at = raw[at : at + size], at + size
                case 1:
                    value, at = raw[at : at + 8], at + 8
                case 5:
                    value, at = raw[at : at + 4], at + 4
                case _:
                    raise MalformedError("unknown wire type")
            if at > end or not tag >> 3:
                raise MalformedError("unexpected end of the message")
            yield tag >> 3, value

    def message(self, name: str, raw: bytes, depth: int) -> dict[str, Any]:
        if depth > DEPTH_MAX:
            raise MalformedError(f"the object is nested deeper than {DEPTH_MAX} levels")
        known, found = _table()[name], dict[str, Any]()
        for number, value in self.fields(raw):
            field = known.get(number)
            if field is None or field.type == "?":
                continue
            if not field.name:
                found |= self.message(field.type, _bytes(value), depth + 1)
            elif field.keyed:
                key, item = self._entry(field, _bytes(value), depth)
                found.setdefault(field.name, {})[key] = item
            elif field.repeated:
                found.setdefault(field.name, []).extend(self._items(field, value, depth))
            else:
                item = self._value(field.type, value, depth)
                if item is not None and (item or field.pointer):
                    found[field.name] = item
        return found

    def _entry(self, field: Field, raw: bytes, depth: int) -> tuple[str, Any]:
        key, value = "", b""
        for number, inner in self.fields(raw):
            if number == 1:
                key = _text(_bytes(inner))
            elif number == 2:
                value = _bytes(inner)
        if field.listed:
            items = (each for number, each in self.fields(value) if number == 1)
            return key, [self._value(field.type, each, depth) for each in items]
        return key, self._value(field.type, value, depth)

    def _items(self, field: Field, value: int | bytes, depth: int) -> Iterator[Any]:
        if field.type == "int" and isinstance(value, bytes):
            at = 0
            while at < len(value):
                number, at = _varint(value, at)
                yield _signed(number)
        else:
            yield self._value(field.type, value, depth)

    def _value(self, type_: str, value: int | bytes, depth: int) -> Any:
        match type_:
            case "int" | "bool":
                if not isinstance(value, int):
                    raise MalformedError("a number has the wrong wire type")
                return bool(value) if type_ == "bool" else _signed(value)
            case "string":
                return _text(_bytes(value))
            case "bytes":
                return b64encode(_bytes(value)).decode()
            case "Raw":
                return self._raw(_bytes(value))
            case "Time" | "MicroTime" | "Quantity" | "IntOrString":
                return _special(type_, dict(self.fields(_bytes(value))))
        return self.message(type_, _bytes(value), depth + 1)

    def _raw(self, raw: bytes) -> Any:
        inner = dict(self.fields(raw)).get(1, b"")
        if inner in (b"", 0):
            return None
        try:
            return orjson.loads(_bytes(inner))
        except ValueError as error:
            raise MalformedError("an embedded object is not JSON") from error


def _special(type_: str, fields: dict[int, int | bytes]) -> Any:
    if type_ == "Quantity":
        return _text(_bytes(fields.get(1, b"")))
    if type_ == "IntOrString":
        if fields.get(1):
            return _text(_bytes(fields.get(3, b"")))
        return _signed(_int(fields.get(2, 0)))
    seconds, nanos = _signed(_int(fields.get(1, 0))), _int(fields.get(2, 0))
    if not seconds and not nanos:
        return None
    try:
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError as error:
        raise MalformedError("a time is out of range") from error
    shown = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{shown}.{moment.microsecond:06d}Z" if type_ == "MicroTime" else f"{shown}Z"


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise MalformedError("unexpected end of the message")
        byte = raw[at]
        found |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return found & (1 << 64) - 1, at
        shift += 7


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise MalformedError("a number has the wrong wire type")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise MalformedError("a field has the wrong wire type")
    return value


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("a string is not UTF-8") from error
