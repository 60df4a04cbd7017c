"""Rules on metadata that hold for every kind.

Source: apimachinery api/validation (ValidateObjectMeta, ValidateObjectMetaUpdate); Kubernetes API
conventions, "Metadata".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apiserver.registry.causes import all_invalid, forbidden, immutable, invalid, required, too_long
from apiserver.registry.strategy import NameRule
from kubraft.api.errors import Cause
from kubraft.api.names import (
    dns1123_label_errors,
    label_value_errors,
    qualified_name_errors,
)
from kubraft.api.object import Object

ANNOTATIONS_BYTES_MAX = 256 * 1024
# Set by the server; what a client sends is ignored on create and kept as it was on update.
SYSTEM_FIELDS = ("uid", "creationTimestamp", "generation", "selfLink")
_STANDARD_FINALIZERS = frozenset({"orphan", "foregroundDeletion", "kubernetes"})
_BANNED_OWNERS = frozenset({("v1", "Event")})


def wipe_system_fields(metadata: dict[str, Any]) -> None:
    """Drop from a new object what only the server sets."""
    for field in (
        *SYSTEM_FIELDS,
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ):
        metadata.pop(field, None)


def keep_system_fields(new: dict[str, Any], old: dict[str, Any]) -> None:
    """Carry over to an update what only the server sets; a uid given must be checked before."""
    for field in (*SYSTEM_FIELDS, "deletionTimestamp", "deletionGracePeriodSeconds"):
        if field in old:
            new[field] = old[field]
        else:
            new.pop(field, None)
    for field in ("name", "namespace", "generateName"):
        if field not in new and field in old:
            new[field] = old[field]


def tidy(metadata: dict[str, Any]) -> None:
    """Leave out what is empty, as encoding in Go does."""
    for field in ("labels", "annotations", "ownerReferences", "finalizers", "managedFields"):
        if field in metadata and not metadata[field]:
            del metadata[field]
    for field in ("generateName", "selfLink", "resourceVersion", "uid", "namespace"):
        if metadata.get(field) == "":
            del metadata[field]


def validate(
    obj: Object, *, namespaced: bool, name_errors: NameRule, any_finalizer: bool = False
) -> list[Cause]:
    """What is wrong with the metadata of any object.

    Built-in kinds take finalizers only that are qualified or Kubernetes' own, others any.
    """
    metadata = obj["metadata"]
    causes: list[Cause] = []
    if base := metadata.get("generateName"):
        causes += all_invalid("metadata.generateName", base, name_errors(base.rstrip("-.") or base))
    if name := metadata.get("name"):
        causes += all_invalid("metadata.name", name, name_errors(name))
    else:
        causes.append(required("metadata.name", "name or generateName is required"))
    causes += _validate_namespace(metadata.get("namespace", ""), namespaced=namespaced)
    causes += label_causes("metadata.labels", metadata.get("labels") or {})
    causes += annotation_causes("metadata.annotations", metadata.get("annotations") or {})
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        causes += _validate_owner(f"metadata.ownerReferences[{index}]", owner)
    controllers = [o for o in metadata.get("ownerReferences") or () if o.get("controller")]
    if len(controllers) > 1:
        both = f"{controllers[0].get('kind')} {controllers[0].get('name')}"
        causes.append(
            invalid(
                "metadata.ownerReferences",
                metadata["ownerReferences"],
                "Only one reference can have Controller set to true. Found "
                f'"true" in references for {both} and '
                f"{controllers[1].get('kind')} {controllers[1].get('name')}",
            )
        )
    for finalizer in metadata.get("finalizers") or ():
        causes += _validate_finalizer("metadata.finalizers", finalizer, any_finalizer=any_finalizer)
    return causes


def validate_update(new: Object, old: Object) -> list[Cause]:
    """What is wrong with a change of metadata."""
    after, before = new["metadata"], old["metadata"]
    causes = [
        immutable(f"metadata.{field}", after.get(field, ""))
        for field in ("name", "namespace")
        if after.get(field, "") != before.get(field, "")
    ]
    if before.get("deletionTimestamp"):
        added = set(after.get("finalizers") or ()) - set(before.get("finalizers") or ())
        if added:
            causes.append(
                forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers {_go_strings(sorted(added))}",
                )
            )
    return causes


def label_causes(field: str, labels: dict[str, str]) -> list[Cause]:
    """What is wrong with labels."""
    causes: list[Cause] = []
    for key, value in labels.items():
        causes += all_invalid(field, key, qualified_name_errors(key))
        causes += all_invalid(field, value, label_value_errors(value))
    return causes


def annotation_causes(field: str, annotations: dict[str, str]) -> list[Cause]:
    """What is wrong with annotations."""
    causes: list[Cause] = []
    size = 0
    for key, value in annotations.items():
        causes += all_invalid(field, key, qualified_name_errors(key.lower()))
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_BYTES_MAX:
        causes.append(too_long(field, ANNOTATIONS_BYTES_MAX))
    return causes


def each_key(field: str, keys: list[str], rule: Callable[[str], list[str]]) -> list[Cause]:
    """What is wrong with the keys of a map, each under its own path."""
    return [cause for key in keys for cause in all_invalid(f"{field}[{key}]", key, rule(key))]


def _validate_namespace(namespace: str, *, namespaced: bool) -> list[Cause]:
    if not namespaced:
        if namespace:
            return [forbidden("metadata.namespace", "not allowed on this type")]
        return []
    if not namespace:
        return [required("metadata.namespace")]
    return all_invalid("metadata.namespace", namespace, dns1123_label_errors(namespace))


def _validate_owner(field: str, owner: dict[str, Any]) -> list[Cause]:
    causes = []
    if (owner.get("apiVersion", ""), owner.get("kind", "")) in _BANNED_OWNERS:
        causes.append(invalid(field, owner, "/v1, Kind=Event is disallowed from being an owner"))
    if not owner.get("apiVersion"):
        causes.append(
            invalid(f"{field}.apiVersion", owner.get("apiVersion", ""), "version must not be empty")
        )
    causes += [
        invalid(f"{field}.{name}", "", f"{name} must not be empty")
        for name in ("kind", "name", "uid")
        if not owner.get(name)
    ]
    return causes


def _validate_finalizer(field: str, finalizer: str, *, any_finalizer: bool) -> list[Cause]:
    causes = all_invalid(field, finalizer, qualified_name_errors(finalizer))
    if any_finalizer or causes:
        return causes
    if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
        causes.append(
            invalid(
                field,
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            )
        )
    return causes


def _go_strings(values: list[str]) -> str:
    return "[]string{" + ", ".join(f'"{value}"' for value in values) + "}"
