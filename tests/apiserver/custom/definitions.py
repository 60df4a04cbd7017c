"""Definitions and objects that the tests of custom resources use."""

from __future__ import annotations

import asyncio
from typing import Any

from kubraft.api.object import Object

GROUP = "stable.example.com"
CRON_SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["cronSpec"],
    "properties": {
        "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
        "image": {"type": "string", "description": "What to run."},
        "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
        "port": {"x-kubernetes-int-or-string": True},
        "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "note": {"type": "string", "nullable": True},
    },
}
STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer"},
        "labelSelector": {"type": "string"},
        "phase": {"type": "string", "enum": ["Good", "Bad"]},
    },
}
COLUMNS = [
    {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec", "description": "When."},
    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
    {"name": "Image", "type": "string", "jsonPath": ".spec.image", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


def version(name: str = "v1", **fields: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": CRON_SPEC, "status": STATUS}}
    return {
        "name": name,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": COLUMNS,
        **fields,
    }


def definition(*versions: dict[str, Any], **spec: Any) -> Object:
    names = {
        "plural": "crontabs",
        "kind": "CronTab",
        "shortNames": ["ct"],
        "categories": ["all"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"crontabs.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": names,
            "versions": list(versions) or [version()],
            **spec,
        },
    }


def crontab(name: str = "one", *, api_version: str = f"{GROUP}/v1", **spec: Any) -> Object:
    return {
        "apiVersion": api_version,
        "kind": "CronTab",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"cronSpec": "* * * * */5", **spec},
    }


async def eventually(check: Any) -> Any:
    """What `check` answers as soon as that is true."""
    async with asyncio.timeout(20):
        while not (found := await check()):  # noqa: ASYNC110 - another process may make it true
            await asyncio.sleep(0.01)
        return found
