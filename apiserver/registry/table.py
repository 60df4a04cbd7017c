"""Objects as a meta.k8s.io/v1 Table, for terminals."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from apiserver.registry.resource import Resource
from kubraft.api.object import Object


def table(
    resource: Resource,
    objects: Iterable[Object],
    now: datetime,
    metadata: dict[str, Any],
    *,
    include: str = "Metadata",
) -> Object:
    """A Table of `objects`; `metadata` is that of the list that they come from.

    Rows hold what `include` says of their objects: None, Metadata or Object.
    """
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [
            {
                "name": column.name,
                "type": column.type,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            }
            for column in resource.columns.definitions
        ],
        "rows": [
            {"cells": resource.columns.cells(obj, now), **_included(obj, include)}
            for obj in objects
        ],
    }


def _included(obj: Object, include: str) -> Object:
    if include == "None":
        return {}
    if include == "Object":
        return {"object": obj}
    return {
        "object": {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": obj["metadata"],
        }
    }
