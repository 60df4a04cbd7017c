"""Objects as a meta.k8s.io/v1 Table, for terminals."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from apiserver.registry.resource import Resource
from kubraft.api.object import Object


def table(
    resource: Resource, objects: Iterable[Object], now: datetime, metadata: dict[str, Any]
) -> Object:
    """A Table of `objects`; `metadata` is that of the list that they come from."""
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
            {
                "cells": resource.columns.cells(obj, now),
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": obj["metadata"],
                },
            }
            for obj in objects
        ],
    }
