"""One row of the resource table: everything that is said about a kind outside its strategy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from apiserver.registry.conversion import Conversion
from apiserver.registry.custom.kind import CustomKind
from apiserver.registry.field_warnings import DEPRECATED_KINDS
from apiserver.registry.strategy import Strategy
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object

STANDARD_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)


class Column(NamedTuple):
    """A column of a Table; those with priority 1 are shown by wide output only."""

    name: str
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """How a kind prints: column definitions, and the cells of one object at a moment."""

    definitions: tuple[Column, ...]
    cells: Callable[[Object, datetime], list[Any]]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as it is served."""

    gvk: GroupVersionKind
    plural: str
    strategy: Strategy
    columns: Columns
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = STANDARD_VERBS
    subresources: tuple[str, ...] = ()
    # Field selectors beside metadata.name and metadata.namespace.
    selectable_fields: tuple[str, ...] = ()
    # Where its keys lie below /registry/; the plural where empty.
    folder: str = ""
    # Where they are not made from the kind.
    singular_name: str = ""
    list_kind_name: str = ""
    # Where another version of the kind is the one that the store has.
    conversion: Conversion | None = None
    # What a kind that a CustomResourceDefinition made has beside all this.
    custom: CustomKind | None = None

    @property
    def singular(self) -> str:
        return self.singular_name or self.gvk.kind.lower()

    @property
    def list_kind(self) -> str:
        return self.list_kind_name or f"{self.gvk.kind}List"

    @property
    def form(self) -> CustomKind | Conversion | None:
        """What brings objects from the store into this version; None where nothing is to do."""
        return self.custom or self.conversion

    @property
    def warnings(self) -> tuple[str, ...]:
        """What everybody who uses this kind is told."""
        if self.custom:
            return self.custom.warnings
        return (DEPRECATED_KINDS[self.gvk],) if self.gvk in DEPRECATED_KINDS else ()

    @property
    def qualified(self) -> str:
        """As messages name it: "pods", "deployments.apps"."""
        return f"{self.plural}.{self.gvk.group}" if self.gvk.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """As messages on invalid objects name it: "Pod", "Deployment.apps"."""
        return f"{self.gvk.kind}.{self.gvk.group}" if self.gvk.group else self.gvk.kind

    @property
    def prefix(self) -> str:
        """What the keys of all its objects begin with."""
        return f"/registry/{self.folder or self.plural}/"

    def within(self, namespace: str) -> str:
        """What the keys of the objects of `namespace` begin with; all where it is empty."""
        return f"{self.prefix}{namespace}/" if namespace else self.prefix

    def key(self, namespace: str, name: str) -> str:
        """The key of one object."""
        return f"{self.prefix}{namespace}/{name}" if self.namespaced else self.prefix + name
