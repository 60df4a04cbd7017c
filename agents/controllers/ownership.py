"""Which objects a controller owns: adoption and release by selector and owner reference.

An object has at most one controlling owner. A controller adopts what its selector matches and
nobody controls, and releases what it controls but its selector no longer matches.

Source: Kubernetes documentation, "Owners and Dependents"; design proposal "ControllerRef".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kubraft.api.gvk import gvk_of
from kubraft.api.labels import LabelSelector
from kubraft.api.object import Object, controller_of, is_terminating, labels_of, uid_of


@dataclass(frozen=True, slots=True)
class Claim:
    """How a controller stands to the objects that it looked at."""

    owned: tuple[Object, ...]  # controlled and selected
    adopt: tuple[Object, ...]  # selected, controlled by nobody
    release: tuple[Object, ...]  # controlled, no longer selected


def claim(owner: Object, selector: LabelSelector, candidates: Iterable[Object]) -> Claim:
    """Sort `candidates`, objects of the owner's namespace, by what `owner` should do with them.

    A terminating owner neither adopts nor releases, and a terminating orphan is left alone.
    """
    owned: list[Object] = []
    adopt: list[Object] = []
    release: list[Object] = []
    for candidate in candidates:
        controller = controller_of(candidate)
        selected = selector.matches(labels_of(candidate))
        if controller is not None:
            if controller["uid"] != uid_of(owner):
                continue
            if selected:
                owned.append(candidate)
            elif not is_terminating(owner):
                release.append(candidate)
        elif selected and not is_terminating(owner) and not is_terminating(candidate):
            adopt.append(candidate)
    return Claim(tuple(owned), tuple(adopt), tuple(release))


def controller_reference(owner: Object) -> dict[str, Any]:
    """The reference of what `owner` controls and, deleted in the foreground, waits for."""
    return {
        "apiVersion": gvk_of(owner).api_version,
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def adopted(obj: Object, owner: Object) -> Object:
    """`obj`, controlled by `owner`."""
    references = obj["metadata"].get("ownerReferences") or []
    kept = [r for r in references if r.get("uid") != uid_of(owner)]
    return with_owners(obj, [*kept, controller_reference(owner)])


def released(obj: Object, *owner_uids: str) -> Object:
    """`obj` without its references to those owners."""
    references = obj["metadata"].get("ownerReferences") or []
    return with_owners(obj, [r for r in references if r.get("uid") not in owner_uids])


def with_owners(obj: Object, references: list[dict[str, Any]]) -> Object:
    """`obj` with exactly these owner references; the rest is shared with `obj`."""
    metadata = {k: v for k, v in obj["metadata"].items() if k != "ownerReferences"}
    if references:
        metadata["ownerReferences"] = references
    return {**obj, "metadata": metadata}
