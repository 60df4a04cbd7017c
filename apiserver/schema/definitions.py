"""The OpenAPI definitions of Kubernetes 1.37, read from the package that ships them.

Reading takes 12 ms and what no served kind refers to is dropped at once, so there is no cached copy
that could go stale. Descriptions go too; patch strategies and list keys stay.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from kubraft.api.gvk import GroupVersionKind

VERSION = "1.37"
_FILE = "kubernetes-json-schema/v1.37.0-local/_definitions.json"
_REF = "#/$defs/"

Schema = dict[str, Any]


def definitions_file() -> Path:
    """Where the package keeps its definitions; the package itself is slow to import, and is not.

    Raises:
        FileNotFoundError: kubernetes-validate is not installed, or without Kubernetes 1.37.
    """
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package kubernetes-validate is not installed")
    return Path(spec.submodule_search_locations[0]) / _FILE


def load(
    kinds: Iterable[GroupVersionKind],
) -> tuple[dict[str, Schema], dict[GroupVersionKind, str]]:
    """The definitions that `kinds` refer to, by name, and the name of each kind's own.

    Raises:
        FileNotFoundError: see `definitions_file`.
        KeyError: Kubernetes 1.37 has no such kind.
    """
    everything = orjson.loads(definitions_file().read_bytes())["$defs"]
    by_kind = {
        GroupVersionKind(gvk["group"], gvk["version"], gvk["kind"]): name
        for name, schema in everything.items()
        for gvk in schema.get("x-kubernetes-group-version-kind", ())
    }
    roots = {kind: by_kind[kind] for kind in kinds}
    return _closure(everything, roots.values()), roots


def reference(schema: Schema) -> str | None:
    """The name of the definition that `schema` refers to."""
    ref = schema.get("$ref")
    return ref.removeprefix(_REF) if isinstance(ref, str) else None


def _closure(everything: dict[str, Schema], roots: Iterable[str]) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = _without_descriptions(everything[name])
            todo += references(found[name])
    return found


def references(schema: Any) -> Iterator[str]:
    """The names of all definitions that `schema` refers to."""
    if isinstance(schema, dict):
        if (name := reference(schema)) is not None:
            yield name
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def _without_descriptions(schema: Schema) -> Schema:
    """A copy of a schema; "description" is also the name of a property in places."""
    result: Schema = {}
    for key, value in schema.items():
        if key == "description" and isinstance(value, str):
            continue
        if key == "properties":
            result[key] = {name: _without_descriptions(prop) for name, prop in value.items()}
        elif isinstance(value, dict):
            result[key] = _without_descriptions(value)
        else:
            result[key] = value
    return result
