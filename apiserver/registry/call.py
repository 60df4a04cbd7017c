"""One request as the verbs see it, whatever front it came through, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from apiserver.registry.resource import Resource
from apiserver.schema.schemas import FieldValidation
from apiserver.storage.entry import Entry
from apiserver.user import User


@dataclass(frozen=True, slots=True)
class Call:
    """Who does something to what. `namespace` is empty for cluster-scoped kinds and for all."""

    user: User
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> str:
        """The key of the object in the store."""
        return self.resource.key(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a write is to be done. `trusted` writes are the server's own: no policy is asked."""

    dry_run: bool = False
    field_manager: str = ""
    field_validation: FieldValidation = FieldValidation.STRICT
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How a delete is to be done, with its preconditions ("" is none)."""

    grace_period_s: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False
    trusted: bool = False


class Written(NamedTuple):
    """The object after a write, with warnings for the client.

    `gone` says that the write was the object's last: it is no longer stored.
    """

    entry: Entry
    warnings: tuple[str, ...] = ()
    gone: bool = False
