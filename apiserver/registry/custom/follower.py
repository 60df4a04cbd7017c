"""Keeps the resource table in step with the CustomResourceDefinitions that the cache shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apiserver.reader import Reader
from apiserver.registry.custom.kind import Converter
from apiserver.registry.custom.rows import rows_of
from apiserver.registry.resources import Resources
from kubraft.api.gvk import CUSTOM_RESOURCE_DEFINITION
from kubraft.api.object import Object

# Told of a key prefix whose objects are no longer served, or not as they were.
OnGone = Callable[[str], None]
# From the name of a definition and its `spec.conversion.webhook`.
MakeConverter = Callable[[str, dict[str, Any]], Converter]


class DefinitionFollower:
    """Puts rows in and takes them out, before any reader can see the definition's change."""

    def __init__(
        self,
        reader: Reader,
        resources: Resources,
        on_gone: OnGone,
        make_converter: MakeConverter | None = None,
    ) -> None:
        self._resources = resources
        self._on_gone = on_gone
        self._make_converter = make_converter
        reader.add_handler(CUSTOM_RESOURCE_DEFINITION, self._on_change)

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        changed = new or old
        assert changed is not None
        if old is not None and new is not None and _same(old, new):
            return
        name = changed["metadata"]["name"]
        before = {row.gvk: row for row in self._resources.custom(name)}
        rows = rows_of(new, self._converter(new)) if new is not None else []
        self._resources.set_custom(name, rows)
        gone = before.keys() - {row.gvk for row in rows}
        for prefix in {before[gvk].prefix for gvk in gone}:
            self._on_gone(prefix)

    def _converter(self, definition: Object) -> Converter | None:
        conversion = definition["spec"].get("conversion") or {}
        if conversion.get("strategy") != "Webhook" or self._make_converter is None:
            return None
        return self._make_converter(definition["metadata"]["name"], conversion["webhook"])


def _same(old: Object, new: Object) -> bool:
    """Whether nothing changed that makes rows."""
    return _essence(old) == _essence(new)


def _essence(definition: Object) -> tuple[object, ...]:
    status = definition.get("status") or {}
    conditions = [
        (condition.get("type"), condition.get("status"))
        for condition in status.get("conditions") or ()
    ]
    metadata = definition["metadata"]
    return (
        definition["spec"],
        status.get("acceptedNames"),
        conditions,
        metadata.get("uid"),
        metadata.get("deletionTimestamp"),
    )
