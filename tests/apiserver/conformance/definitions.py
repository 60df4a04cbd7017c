"""CustomResourceDefinitions that the stories make: each has a group of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

from kubraft.api.conditions import is_true
from kubraft.api.object import Object
from tests.apiserver.conformance.cluster import Cluster, eventually

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRON = r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"
PORT: dict[str, Any] = {
    "type": "object",
    "required": ["containerPort", "protocol"],
    "properties": {
        "containerPort": {"type": "integer", "format": "int32"},
        "protocol": {"type": "string"},
        "name": {"type": "string"},
    },
}
SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "foo": {"type": "string", "description": "A foo."},
        "cronSpec": {"type": "string", "pattern": CRON},
        "ports": {
            "type": "array",
            "items": PORT,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        },
    },
}
ANYTHING: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
EMBEDDED: dict[str, Any] = {
    "type": "object",
    "x-kubernetes-embedded-resource": True,
    "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        "spec": {"type": "object"},
    },
}


def of_spec(spec: Any) -> dict[str, Any]:
    """A schema of objects whose spec is that."""
    return {"type": "object", "properties": {"spec": spec}}


def version(name: str = "v1", schema: Any = ANYTHING, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        **fields,
    }


class Custom(NamedTuple):
    """A definition that is established."""

    name: str
    group: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def definition(self) -> str:
        return f"{DEFINITIONS}/{self.name}"

    def path(self, at: str = "v1", namespace: str = "default") -> str:
        within = f"namespaces/{namespace}/" if self.namespaced else ""
        return f"/apis/{self.group}/{at}/{within}{self.plural}"

    def make(self, name: str, at: str = "v1", **fields: Any) -> Object:
        metadata = {"name": name}
        api_version = f"{self.group}/{at}"
        return {"apiVersion": api_version, "kind": self.kind, "metadata": metadata, **fields}


def definition(custom: Custom, *versions: dict[str, Any], **spec: Any) -> Object:
    names = {"plural": custom.plural, "kind": custom.kind, "singular": custom.kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": custom.name, "labels": spec.pop("labels", {})},
        "spec": {
            "group": custom.group,
            "scope": "Namespaced" if custom.namespaced else "Cluster",
            "names": names,
            "versions": list(versions) or [version()],
            **spec,
        },
    }


def custom(
    cluster: Cluster, kind: str = "Noxu", *, group: str = "", namespaced: bool = False
) -> Custom:
    """What a definition of the story will be named."""
    group = group or f"{cluster.name('g')}.example.com"
    plural = f"{kind.lower()}s"
    return Custom(f"{plural}.{group}", group, plural, kind, namespaced)


async def define(cluster: Cluster, made: Custom, *versions: dict[str, Any], **spec: Any) -> Custom:
    """Create a definition, and wait until its kind is served."""
    await cluster.create(DEFINITIONS, definition(made, *versions, **spec))

    async def established() -> bool:
        return is_true(await cluster.get(made.definition), "Established")

    await eventually(established)
    return made
