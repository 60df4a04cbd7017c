"""RuntimeClasses and StorageVersionMigrations.

Source: Kubernetes API reference, node.k8s.io/v1 and storagemigration.k8s.io/v1.
"""

from __future__ import annotations

from apiserver.registry.columns import AGE, NAME, cell, columns
from apiserver.registry.numbers import amounts
from apiserver.registry.paths import Place, at
from apiserver.registry.resource import Resource
from apiserver.registry.rules import RuleStrategy, named, needed
from kubraft.api.errors import Cause
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.names import dns1123_label_errors
from kubraft.api.object import Object

RUNTIME_CLASS = GroupVersionKind("node.k8s.io", "v1", "RuntimeClass")
STORAGE_VERSION_MIGRATION = GroupVersionKind(
    "storagemigration.k8s.io", "v1", "StorageVersionMigration"
)


def _fixed_amounts(place: Place) -> list[Cause]:
    return amounts(place.field, place.value, of_container=True)


def _migrated(obj: Object) -> str:
    resource = at(obj, "spec.resource") or {}
    return ".".join(filter(None, (resource.get("resource"), resource.get("group"))))


ROWS = (
    Resource(
        RUNTIME_CLASS,
        "runtimeclasses",
        RuleStrategy(
            checks=(
                ("handler", needed(), named(dns1123_label_errors)),
                ("overhead.podFixed", _fixed_amounts),
            ),
            fixed={"handler": ""},
            amounts=("overhead.podFixed",),
        ),
        columns(NAME, cell("Handler", "handler"), AGE),
        namespaced=False,
    ),
    Resource(
        STORAGE_VERSION_MIGRATION,
        "storageversionmigrations",
        RuleStrategy(
            checks=(("spec.resource.resource", needed()),),
            fixed={"spec": ""},
            generation=True,
            status={},
        ),
        columns(NAME, cell("Resource", _migrated), AGE),
        namespaced=False,
        subresources=("status",),
    ),
)
