"""An API object as plain JSON values, and the few readings of its metadata that everybody needs."""

from __future__ import annotations

from typing import Any, NamedTuple

# One API object: decoded JSON. What a cache or a watch hands out is read-only; copy to change.
Object = dict[str, Any]


class ObjectKey(NamedTuple):
    """Names one object of a kind; `namespace` is empty for cluster-scoped kinds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(obj: Object) -> ObjectKey:
    """The namespace and name of `obj`."""
    metadata = obj["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])


def uid_of(obj: Object) -> str:
    """`metadata.uid`, empty before the API server has given one."""
    uid: str = obj["metadata"].get("uid", "")
    return uid


def labels_of(obj: Object) -> dict[str, str]:
    """`metadata.labels`, empty where absent."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    """`metadata.annotations`, empty where absent."""
    return obj["metadata"].get("annotations") or {}


def is_terminating(obj: Object) -> bool:
    """Whether deletion of `obj` has begun."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def controller_of(obj: Object) -> dict[str, Any] | None:
    """The owner reference that controls `obj`, if any."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            reference: dict[str, Any] = owner
            return reference
    return None
