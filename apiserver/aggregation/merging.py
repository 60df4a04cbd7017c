"""OpenAPI v2 documents as one. Pure.

Source: kube-openapi's aggregator: definitions of one name that differ get another name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

Json = dict[str, Any]

_REF: Final = "#/definitions/"


def merged(own: Json, others: Iterable[Json]) -> Json:
    """`own` with the paths of others that it has not, and the definitions that these need."""
    made = {**own, "paths": dict(own["paths"]), "definitions": dict(own["definitions"])}
    for other in others:
        given: Json = other.get("paths") or {}
        paths = {path: item for path, item in given.items() if path not in made["paths"]}
        definitions: Json = other.get("definitions") or {}
        needed = {n: definitions[n] for n in _closure(paths, definitions)}
        names = _names(needed, made["definitions"])
        for name, schema in needed.items():
            made["definitions"][names[name]] = _renamed(schema, names)
        for path, item in paths.items():
            made["paths"][path] = _renamed(item, names)
    return made


def _closure(paths: Json, definitions: Json) -> list[str]:
    """The definitions that paths refer to, and those that these do."""
    found: set[str] = set()
    todo = list(_references(paths))
    while todo:
        name = todo.pop()
        if name in definitions and name not in found:
            found.add(name)
            todo += _references(definitions[name])
    return sorted(found)


def _references(value: Any) -> list[str]:
    """All names that are referred to, without recursion: documents come from elsewhere."""
    found: list[str] = []
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            ref = each.get("$ref")
            if isinstance(ref, str) and ref.startswith(_REF):
                found.append(ref.removeprefix(_REF))
            todo += each.values()
        elif isinstance(each, list):
            todo += each
    return found


def _names(needed: Json, taken: Json) -> dict[str, str]:
    """Under which name each definition is added: its own, unless another has that."""
    names: dict[str, str] = {}
    for name, schema in needed.items():
        new, number = name, 1
        while new in taken and taken[new] != schema:
            number += 1
            new = f"{name}_v{number}"
        names[name] = new
    return names


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if all(old == new for old, new in names.items()):
        return value
    return _rename(value, names)


def _rename(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        made = {key: _rename(each, names) for key, each in value.items()}
        ref = value.get("$ref")
        if isinstance(ref, str) and ref.startswith(_REF):
            name = ref.removeprefix(_REF)
            made["$ref"] = _REF + names.get(name, name)
        return made
    if isinstance(value, list):
        return [_rename(each, names) for each in value]
    return value
