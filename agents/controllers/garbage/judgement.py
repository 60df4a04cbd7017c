"""What must happen to an object because of its owners or its dependents.

Pure: what the API server said of the owners, live, and what the caches say of the dependents come
in as values.

    owner alive                          stay; drop references to owners that are gone
    every owner gone                     delete, in the way that the object's finalizers ask for
    the rest wait for their dependents   delete in the foreground, so that they get an end

Source: Kubernetes documentation, "Garbage Collection", "Owners and Dependents", "Use Cascading
Deletion in a Cluster".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from agents.controllers.ownership import released, with_owners
from kubraft.api.object import Object, is_terminating, uid_of

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"

Reference = dict[str, Any]


class Owner(Enum):
    """How an owner stands, by a live read."""

    SOLID = "exists"
    WAITING = "is being deleted in the foreground and waits for what blocks it"
    ABSENT = "does not exist, or another object has its name now"


class Deed(Enum):
    """What to do with the object."""

    NOTHING = "nothing"
    RELEASE = "write it with fewer owner references"
    DELETE = "delete it"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A deed with what it needs.

    `changed` is what to write: before the delete, where the deed is DELETE.
    """

    deed: Deed
    changed: Object | None = None
    propagation: str = ""


def owners_of(obj: Object) -> Sequence[Reference]:
    """`metadata.ownerReferences`, empty where absent."""
    references: Sequence[Reference] = obj["metadata"].get("ownerReferences") or ()
    return references


def has_finalizer(obj: Object, finalizer: str) -> bool:
    """Whether `finalizer` still holds the object back."""
    return finalizer in (obj["metadata"].get("finalizers") or ())


def waits_for_dependents(obj: Object) -> bool:
    """Whether the object is being deleted in the foreground."""
    return is_terminating(obj) and has_finalizer(obj, FOREGROUND)


def orphans_dependents(obj: Object) -> bool:
    """Whether the object is being deleted and leaves its dependents behind."""
    return is_terminating(obj) and has_finalizer(obj, ORPHAN)


def standing(owner: Object | None, uid: str) -> Owner:
    """How the owner of that uid stands, by what a live read of its name found."""
    if owner is None or uid_of(owner) != uid:
        return Owner.ABSENT
    return Owner.WAITING if waits_for_dependents(owner) else Owner.SOLID


def judge(obj: Object, owners: Sequence[Owner], dependents: Sequence[Object]) -> Judgement:
    """What to do with `obj`, as a live read found it; nothing where it is being deleted already.

    Args:
        obj: the object.
        owners: how the owner of each of its references stands, in their order.
        dependents: objects that name it as owner.
    """
    references = owners_of(obj)
    assert len(references) == len(owners)
    if not references or is_terminating(obj):
        return Judgement(Deed.NOTHING)
    if Owner.SOLID in owners:
        gone = [
            r["uid"]
            for r, owner in zip(references, owners, strict=True)
            if owner is not Owner.SOLID
        ]
        return Judgement(Deed.RELEASE, released(obj, *gone)) if gone else Judgement(Deed.NOTHING)
    if Owner.WAITING in owners and dependents:
        # Owner and dependent may wait for each other in a circle: then nobody blocks this one.
        circular = any(waits_for_dependents(dependent) for dependent in dependents)
        changed = _unblocked(obj) if circular else None
        return Judgement(Deed.DELETE, changed, "Foreground")
    return Judgement(Deed.DELETE, propagation=_propagation(obj))


def blocking(obj: Object, dependents: Iterable[Object]) -> list[Object]:
    """The dependents for whose end `obj`, deleted in the foreground, must wait."""
    uid = uid_of(obj)
    return [
        dependent
        for dependent in dependents
        if any(r["uid"] == uid and r.get("blockOwnerDeletion") for r in owners_of(dependent))
    ]


def without_finalizer(obj: Object, finalizer: str) -> Object:
    """`obj` without `finalizer`."""
    metadata = dict(obj["metadata"])
    metadata["finalizers"] = [f for f in metadata.get("finalizers") or () if f != finalizer]
    return {**obj, "metadata": metadata}


def _unblocked(obj: Object) -> Object | None:
    references = [{**r, "blockOwnerDeletion": False} for r in owners_of(obj)]
    return None if references == list(owners_of(obj)) else with_owners(obj, references)


def _propagation(obj: Object) -> str:
    if has_finalizer(obj, ORPHAN):
        return "Orphan"
    return "Foreground" if has_finalizer(obj, FOREGROUND) else "Background"
