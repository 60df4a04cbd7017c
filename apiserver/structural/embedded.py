"""Whole objects inside of custom resources: they have a kind, and metadata like any other.

Source: Kubernetes documentation, "RawExtension"; upstream's validation of embedded metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apiserver.registry.causes import invalid, required
from apiserver.registry.metadata import annotation_causes, label_causes
from apiserver.structural.schema import (
    EMBEDDED,
    Schema,
    additional_of,
    child_path,
    items_of,
    properties_of,
)
from kubraft.api.errors import Cause


def embedded_causes(value: Any, schema: Schema, path: str = "") -> list[Cause]:
    """What is wrong with the type and the metadata of embedded objects."""
    return list(_causes(value, schema, path))


def _causes(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    if isinstance(value, dict):
        if schema.get(EMBEDDED):
            yield from _object_causes(value, path)
        properties, additional = properties_of(schema), additional_of(schema)
        for name, each in value.items():
            known = properties.get(name, additional)
            if known and isinstance(each, (dict, list)):
                yield from _causes(each, known, child_path(path, name))
    elif isinstance(value, list) and (items := items_of(schema)):
        for index, each in enumerate(value):
            yield from _causes(each, items, f"{path}[{index}]")


def _object_causes(value: dict[str, Any], path: str) -> Iterator[Cause]:
    for name in ("apiVersion", "kind"):
        text = value.get(name)
        if not text:
            yield required(f"{path}.{name}", "must not be empty")
        elif not isinstance(text, str):
            yield invalid(f"{path}.{name}", text, "must be a string")
    metadata = value.get("metadata")
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        yield invalid(f"{path}.metadata", metadata, "must be an object")
        return
    for name, check in (("labels", label_causes), ("annotations", annotation_causes)):
        texts = metadata.get(name) or {}
        if isinstance(texts, dict) and all(isinstance(each, str) for each in texts.values()):
            yield from check(f"{path}.metadata.{name}", texts)
        else:
            yield invalid(f"{path}.metadata.{name}", texts, "must be a map of strings")
