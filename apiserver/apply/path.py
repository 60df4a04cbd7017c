"""Elements of a field's path: a field by name, a list's item by its keys, its value or its place.

An element is a string, as FieldsV1 writes it; a path is a tuple of them.
"""

from __future__ import annotations

from typing import Any

import orjson

from kubraft.api.object import Object

Path = tuple[str, ...]
FIELD, KEYS, VALUE, INDEX = "f:", "k:", "v:", "i:"
_RANK = {FIELD: 0, KEYS: 1, VALUE: 2, INDEX: 3}


def of_field(name: str) -> str:
    """The element of a field of a struct or map."""
    return FIELD + name


def of_keys(keys: dict[str, Any]) -> str:
    """The element of a list's item by its keys."""
    return KEYS + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()


def of_value(value: Any) -> str:
    """The element of an item of a set."""
    return VALUE + orjson.dumps(value).decode()


def canonical(element: str) -> str | None:
    """An element as a client wrote it, in the one form in which it is kept; None where unknown.

    Raises:
        ValueError: it is malformed.
    """
    kind, rest = element[:2], element[2:]
    if kind == FIELD:
        return element
    if kind == INDEX:
        return INDEX + str(int(rest))
    if kind not in (KEYS, VALUE):
        return None
    value = orjson.loads(rest)
    if kind == VALUE:
        return of_value(value)
    if not isinstance(value, dict) or not value:
        raise ValueError("a key must be an object with fields")
    return of_keys(value)


def sort_key(element: str) -> tuple[int, Any]:
    """Upstream's order: names, keys, values, places."""
    kind = element[:2]
    return _RANK.get(kind, 4), int(element[2:]) if kind == INDEX else element


def text(path: Path) -> str:
    """A path as messages show it: '.spec.containers[name="a"].image'."""
    return "".join(element_text(element) for element in path)


def element_text(element: str) -> str:
    """One element as messages show it."""
    kind, rest = element[:2], element[2:]
    if kind == FIELD:
        return f".{rest}"
    if kind == KEYS:
        keys: Object = orjson.loads(rest)
        return "[" + ",".join(f"{name}={_shown(value)}" for name, value in keys.items()) + "]"
    return f"[={_shown(orjson.loads(rest))}]" if kind == VALUE else f"[{rest}]"


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()
