"""Places in an object by path: "spec.rules[].http.paths[].backend". Pure.

A name steps into an object, "[]" into each item of a list. What is absent, or no such thing, leads
nowhere; only the last name may be absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

Json = dict[str, Any]


class Place(NamedTuple):
    """A place: its name in messages, what is there (None: nothing), and the object around it."""

    field: str
    value: Any
    holder: Json
    name: str


def at(obj: Any, path: str) -> Any:
    """What is at a path of plain names; None where nothing is."""
    value = obj
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def places(obj: Json, path: str) -> Iterator[Place]:
    """All places that a path leads to, in order; "" is the object itself."""
    if not path:
        yield Place("", obj, obj, "")
        return
    *steps, last = _steps(path)
    nodes: list[tuple[str, Any]] = [("", obj)]
    for step in steps:
        nodes = list(_children(nodes, step))
    if last == "[]":
        for field, value in _children(nodes, last):
            yield Place(field, value, value if isinstance(value, dict) else {}, "")
        return
    for field, node in nodes:
        if isinstance(node, dict):
            yield Place(f"{field}.{last}" if field else last, node.get(last), node, last)


def _children(nodes: list[tuple[str, Any]], step: str) -> Iterator[tuple[str, Any]]:
    for field, node in nodes:
        if step == "[]":
            if isinstance(node, list):
                yield from ((f"{field}[{index}]", item) for index, item in enumerate(node))
        elif isinstance(node, dict) and node.get(step) is not None:
            yield f"{field}.{step}" if field else step, node[step]


@cache
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.replace("[]", ".[]").split("."))
