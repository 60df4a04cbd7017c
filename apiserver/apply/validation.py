"""What is wrong with an applied configuration, in upstream's words.

Source: structured-merge-diff, package typed (messages, as clients see them).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from apiserver.apply.path import element_text
from apiserver.apply.types import Shape, Type, UnkeyedError

ERRORS_MAX = 32
_MAPS = (Shape.STRUCT, Shape.MAP, Shape.ATOMIC_MAP)
_LISTS = (Shape.KEYED, Shape.SET, Shape.ATOMIC_LIST)


class MistypedError(ValueError):
    """A configuration does not fit the schema of its kind."""


def check(type_: Type, value: Any) -> None:
    """Raises MistypedError: `value` is no configuration of this type."""
    found = []
    for error in _errors(type_, value, ""):
        found.append(error)
        if len(found) == ERRORS_MAX:
            break
    if len(found) == 1:
        raise MistypedError(found[0])
    if found:
        raise MistypedError("\n".join(["errors:", *(f"  {error}" for error in found)]))


def _errors(type_: Type, value: Any, at: str) -> Iterator[str]:
    if value is None or type_.shape in (Shape.OPAQUE, Shape.ANY):
        return
    prefix = f"{at}: " if at else ""
    if type_.shape is Shape.SCALAR:
        if (error := _scalar_error(type_.scalar, value)) is not None:
            yield prefix + error
    elif type_.shape in _MAPS:
        if not isinstance(value, dict):
            yield f"{prefix}expected map, got &{{{go_value(value)}}}"
            return
        for name in sorted(value):
            child = type_.child(name)
            if child is None:
                yield f"{at}.{name}: field not declared in schema"
                return
            yield from _errors(child, value[name], f"{at}.{name}")
    elif not isinstance(value, list):
        yield f"{prefix}expected list, got &{{{go_value(value)}}}"
    else:
        yield from _list_errors(type_, value, at)


def _list_errors(type_: Type, value: list[Any], at: str) -> Iterator[str]:
    assert type_.element is not None
    seen: set[str] = set()
    for index, item in enumerate(value):
        shown = f"[{index}]"
        if type_.shape is not Shape.ATOMIC_LIST:
            try:
                element = type_.element_of(item)
            except UnkeyedError as error:
                yield f"{at}: element {index}: {error}"
                return
            shown = element_text(element)
            if element in seen:
                yield f"{at}: duplicate entries for key {shown}"
            seen.add(element)
        yield from _errors(type_.element, item, at + shown)


def _scalar_error(kind: str, value: Any) -> str | None:
    boolean = isinstance(value, bool)
    match kind:
        case "string" if not isinstance(value, str):
            return f"expected string, got &value.valueUnstructured{{Value:{_go_syntax(value)}}}"
        case "number" if boolean or not isinstance(value, (int, float)):
            return f"expected numeric (int or float), got {_go_type(value)}"
        case "boolean" if not boolean:
            return f"expected boolean, got &{{{go_value(value)}}}"
        case "" if isinstance(value, (dict, list)):
            return f"expected any scalar, got &{{{go_value(value)}}}"
    return None


def go_value(value: Any) -> str:
    """A JSON value as Go prints it."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{go_value(value[k])}" for k in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_value, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "<nil>"}[value]
    return str(value)


def _go_syntax(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f'"{k}":{_go_syntax(value[k])}' for k in sorted(value))
        return f"map[string]interface {{}}{{{inner}}}"
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(map(_go_syntax, value)) + "}"
    return orjson.dumps(value).decode() if isinstance(value, str) else go_value(value)


def _go_type(value: Any) -> str:
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    return "bool" if isinstance(value, bool) else "string"
