"""Compiled expressions as trees, read from the form in which the evaluator gives them away.

Source: cel-spec, cel/expr/checked.proto and syntax.proto (field numbers); protobuf, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

DEPTH_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; `size` counts the characters of a text, other literals count one."""

    size: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Name:
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or whether that is there."""

    operand: Node
    field: str
    test_only: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function with all it is given; a receiver comes first."""

    function: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """A literal of a list."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """A literal of a map, with its keys and its values one after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """What macros become: `accumulator` begins with `initial` and becomes `step` for each item."""

    variable: str
    range: Node
    accumulator: str
    initial: Node
    condition: Node
    step: Node
    result: Node


Node = Constant | Name | Select | Call | Items | Entries | Loop
_NOTHING: Final = Constant(1)


class _Field(NamedTuple):
    number: int
    value: Any  # an int, or bytes


def read(serialized: bytes) -> Node:
    """The tree of a compiled expression, as `Expression.serialize` gives it.

    Raises:
        ValueError: it is none, or too deep.
    """
    for field in _fields(serialized):  # of google.protobuf.Any
        if field.number == 2:
            for inner in _fields(field.value):  # of CheckedExpr
                if inner.number == 4:
                    return _node(inner.value, 0)
    raise ValueError("no compiled expression")


def has_loop(node: Node) -> bool:
    """Whether there is a loop anywhere."""
    match node:
        case Loop():
            return True
        case Select(operand=operand):
            return has_loop(operand)
        case Call(args=parts) | Items(items=parts) | Entries(parts=parts):
            return any(map(has_loop, parts))
    return False


def _node(data: bytes, depth: int) -> Node:
    if depth > DEPTH_MAX:
        raise ValueError("the expression is too deep")
    for field in _fields(data):
        below = depth + 1
        match field.number:
            case 3:
                return _constant(field.value)
            case 4:
                return Name(_text(_one(field.value, 1)))
            case 5:
                found = _named(field.value)
                operand = _node(found[1], below)
                return Select(operand, _text(found.get(2, b"")), bool(found.get(3)))
            case 6:
                return _call(field.value, below)
            case 7:
                return Items(tuple(_node(each, below) for each in _all(field.value, 1)))
            case 8:
                return Entries(tuple(_parts(_all(field.value, 2), below)))
            case 9:
                return _loop(field.value, below)
    return _NOTHING


def _constant(data: bytes) -> Constant:
    for field in _fields(data):
        if field.number == 6:
            text = _text(field.value)
            return Constant(len(text), text)
        if field.number == 7:
            return Constant(len(field.value))
    return _NOTHING


def _call(data: bytes, depth: int) -> Call:
    args: list[Node] = []
    function = ""
    for field in _fields(data):
        if field.number == 1:
            args.insert(0, _node(field.value, depth))
        elif field.number == 2:
            function = _text(field.value)
        elif field.number == 3:
            args.append(_node(field.value, depth))
    return Call(function, tuple(args))


def _parts(entries: Sequence[bytes], depth: int) -> Iterator[Node]:
    for entry in entries:
        found = _named(entry)
        for number in (3, 4):
            if number in found:
                yield _node(found[number], depth)


def _loop(data: bytes, depth: int) -> Loop:
    found = _named(data)
    nodes = {number: _node(found.get(number, b""), depth) for number in (2, 4, 5, 6, 7)}
    return Loop(
        _text(found.get(1, b"")),
        nodes[2],
        _text(found.get(3, b"")),
        nodes[4],
        nodes[5],
        nodes[6],
        nodes[7],
    )


def _named(data: bytes) -> dict[int, Any]:
    return {field.number: field.value for field in _fields(data)}


def _all(data: bytes, number: int) -> list[bytes]:
    return [field.value for field in _fields(data) if field.number == number]


def _one(data: bytes, number: int) -> bytes:
    return _all(data, number)[0] if _all(data, number) else b""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _fields(data: bytes) -> Iterator[_Field]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield _Field(tag >> 3, value)
            case 1:
                yield _Field(tag >> 3, data[at : at + 8])
                at += 8
            case 2:
                size, at = _varint(data, at)
                yield _Field(tag >> 3, data[at : at + size])
                at += size
            case 5:
                yield _Field(tag >> 3, data[at : at + 4])
                at += 4
            case other:
                raise ValueError(f"unknown wire type {other}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("the expression is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
