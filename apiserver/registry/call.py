"""One request as the verbs see it, whatever front it came through, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

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
    """How a write is to be done. `trusted` writes are the server's own: no policy is asked.

    `managed` says that the object comes with managedFields of the server's own making (an apply);
    else `field_manager` takes over what the write changes.
    """

    dry_run: bool = False
    field_manager: str = ""
    field_validation: FieldValidation = FieldValidation.STRICT
    trusted: bool = False
    managed: bool = False
    # What is to be said of fields that the body names twice.
    repeated: tuple[str, ...] = ()

    def as_object(self, kind: str) -> dict[str, Any]:
        """As admission is told; `kind` is CreateOptions and the like."""
        made: dict[str, Any] = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
        if self.dry_run:
            made["dryRun"] = ["All"]
        if self.field_manager:
            made["fieldManager"] = self.field_manager
        return {**made, "fieldValidation": self.field_validation.value}


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How a delete is to be done, with its preconditions ("" is none)."""

    grace_period_s: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False
    trusted: bool = False

    def as_object(self) -> dict[str, Any]:
        """As admission is told."""
        made: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}
        if self.grace_period_s is not None:
            made["gracePeriodSeconds"] = self.grace_period_s
        conditions = {"uid": self.uid, "resourceVersion": self.resource_version}
        if wanted := {key: value for key, value in conditions.items() if value}:
            made["preconditions"] = wanted
        if self.propagation:
            made["propagationPolicy"] = self.propagation
        if self.dry_run:
            made["dryRun"] = ["All"]
        return made


class Written(NamedTuple):
    """The object after a write, with warnings for the client.

    `gone` says that the write was the object's last: it is no longer stored.
    """

    entry: Entry
    warnings: tuple[str, ...] = ()
    gone: bool = False
    # A PUT made the object.
    created: bool = False
