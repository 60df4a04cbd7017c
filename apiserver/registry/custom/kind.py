"""What a custom kind needs beside a row's columns: its schema, and how it lies in the store.

Every version of a custom resource reads and writes the same keys. The store keeps objects in the
storage version; what is read is brought into the version that was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from apiserver.storage import codec
from apiserver.storage.entry import Entry
from apiserver.structural.defaulting import default
from apiserver.structural.pruning import prune
from apiserver.structural.schema import Schema
from kubraft.api.object import Object


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where a custom object keeps what its scale subresource says: names from the root on."""

    spec_replicas: tuple[str, ...]
    status_replicas: tuple[str, ...]
    selector: tuple[str, ...] = ()


def value_at(obj: Object, path: tuple[str, ...]) -> Any:
    """What stands at a path of names; None where nothing does."""
    value: Any = obj
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


class Converter(Protocol):
    """Brings objects from one version into another where that takes more than another name."""

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """The objects, which are left as they are, in `api_version` and in their order.

        Raises:
            InternalError: it cannot be done, or not now.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class CustomKind:
    """One version of a custom resource."""

    group: str
    version: str
    storage_version: str
    schema: Schema
    scale: ScalePaths | None = None
    # Said to everyone who uses a deprecated version.
    warnings: tuple[str, ...] = ()
    # The definition is being deleted: nothing new may come.
    terminating: bool = False
    # None where versions differ in nothing but their names.
    converter: Converter | None = None

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"

    @property
    def storage_api_version(self) -> str:
        return f"{self.group}/{self.storage_version}"

    def is_current(self, entry: Entry) -> bool:
        """Whether an object lies in the store in the version in which it would be written now."""
        return bool(entry.view()["apiVersion"] == self.storage_api_version)

    def presented(self, entry: Entry) -> Entry:
        """An object in this version, without what the schema no longer knows, defaults filled in.

        Made once for each entry; where nothing is to be done, it is the entry itself.
        """
        found: Entry = entry.variant(self, self._present)
        return found

    def stored(self, obj: Object) -> Object:
        """An object as it is written."""
        return {**obj, "apiVersion": self.storage_api_version}

    async def ready(self, entries: Sequence[Entry]) -> None:
        """Have those entries converted that `presented` is asked for next."""
        if self.converter is None:
            return
        wanted = [
            entry
            for entry in entries
            if not entry.has_variant(self) and entry.view()["apiVersion"] != self.api_version
        ]
        if not wanted:
            return
        made = await self.converter.convert([e.decode() for e in wanted], self.api_version)
        for entry, obj in zip(wanted, made, strict=True):
            self._keep(entry, obj)

    async def storable(self, obj: Object) -> Object:
        """As `stored`, asking a converter where there is one."""
        if self.converter is None or self.version == self.storage_version:
            return self.stored(obj)
        return (await self.converter.convert([obj], self.storage_api_version))[0]

    def complete(self, obj: Object) -> None:
        """Fill in defaults, in place."""
        metadata = obj.pop("metadata")
        default(obj, self.schema)
        obj["metadata"] = metadata

    def _keep(self, entry: Entry, obj: Object) -> None:
        entry.variant(self, lambda entry: self._made(entry, obj))

    def _present(self, entry: Entry) -> Entry:
        return self._made(entry, {**entry.decode(), "apiVersion": self.api_version})

    def _made(self, entry: Entry, obj: Object) -> Entry:
        before: dict[str, Any] = codec.decode(entry.raw)
        prune(obj, self.schema)
        self.complete(obj)
        if obj == before:
            return entry
        return Entry.stored(entry.key, entry.revision, codec.encode(obj))
