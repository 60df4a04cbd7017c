"""The strategy of CustomResourceDefinitions, and how they print.

Source: Kubernetes API reference, apiextensions.k8s.io/v1; upstream's defaults and strategy.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from apiserver.registry import cells
from apiserver.registry.custom.definition_validation import definition_causes
from apiserver.registry.custom.naming import terminating
from apiserver.registry.resource import Column, Columns
from apiserver.registry.strategy import Strategy
from kubraft.api.conditions import is_true
from kubraft.api.errors import Cause
from kubraft.api.object import Object

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


class DefinitionStrategy(Strategy):
    """The rules of CustomResourceDefinitions."""

    has_generation = True
    any_finalizer = True
    has_status = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        names = spec.setdefault("names", {})
        if kind := names.get("kind"):
            names["singular"] = names.get("singular") or kind.lower()
            names["listKind"] = names.get("listKind") or f"{kind}List"
        if spec.get("conversion") is None:
            spec["conversion"] = {"strategy": "None"}
        service = ((spec["conversion"].get("webhook") or {}).get("clientConfig") or {}).get(
            "service"
        )
        if service is not None:
            service.setdefault("port", 443)
        if spec.get("preserveUnknownFields") is False:
            del spec["preserveUnknownFields"]

    def prepare_for_create(self, obj: Object) -> None:
        nameless = {"plural": "", "kind": ""}
        obj["status"] = {"conditions": [], "acceptedNames": nameless, "storedVersions": []}
        _note_storage_version(obj)

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        _note_storage_version(new)

    def validate(self, obj: Object) -> list[Cause]:
        return definition_causes(obj, None)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        if new["spec"] == old["spec"]:
            return []  # rules may have become stricter since
        return definition_causes(new, old)

    def begin_deletion(self, obj: Object, now: datetime) -> None:
        """Instances go first: a finalizer keeps the definition until then."""
        metadata = obj["metadata"]
        if CLEANUP not in (metadata.get("finalizers") or ()):
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), CLEANUP]
        message = (
            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
        )
        obj["status"] = terminating(obj, "True", "InstanceDeletionPending", message, now)


def _note_storage_version(obj: Object) -> None:
    """The storage version is one that may be found in the store from now on."""
    status = obj.setdefault("status", {})
    stored: list[str] = list(status.get("storedVersions") or ())
    for version in obj["spec"].get("versions") or ():
        if version.get("storage") and version.get("name", "") not in stored:
            stored.append(version.get("name", ""))
            break
    status["storedVersions"] = stored


def _row(obj: Object, _: datetime) -> list[Any]:
    spec, names = obj["spec"], obj["spec"]["names"]
    versions = sorted(
        version["name"] + ("(storage)" if version.get("storage") else "")
        for version in spec.get("versions") or ()
        if version.get("served")
    )
    return [
        obj["metadata"]["name"],
        spec.get("scope", ""),
        ",".join(versions),
        obj["metadata"].get("creationTimestamp", cells.UNKNOWN),
        spec["group"],
        names["kind"],
        ",".join(names.get("shortNames") or ()),
        is_true(obj, "Established"),
    ]


COLUMNS = Columns(
    (
        cells.NAME,
        Column("Scope", description="Cluster/Namespaced"),
        Column("Versions", description="Served versions"),
        Column("Created At", "date", description="When the object was created."),
        Column("Group", priority=1, description="API group"),
        Column("Kind", priority=1, description="CustomResource kind"),
        Column("ShortNames", priority=1, description="Short names"),
        Column("Established", "boolean", priority=1, description="Established status"),
    ),
    _row,
)
