"""A template as a ControllerRevision: its name, its data, which revision it is.

The data is the strategic merge patch that sets the template, so that `kubectl rollout undo` can
apply it.

Source: Kubernetes API reference, ControllerRevision v1 (apps); upstream's controller history.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Any

from agents.controllers.deployment.template import same_template, template_hash
from agents.controllers.ownership import controller_reference
from kubraft.api.gvk import CONTROLLER_REVISION
from kubraft.api.object import Object, annotations_of, labels_of

HASH = "controller-revision-hash"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_REPLACE = "$patch"


def ordered(revisions: Sequence[Object]) -> list[Object]:
    """Oldest first."""
    return sorted(
        revisions,
        key=lambda r: (r["revision"], r["metadata"].get("creationTimestamp") or "", name_of(r)),
    )


def name_of(revision: Object) -> str:
    """`metadata.name`."""
    name: str = revision["metadata"]["name"]
    return name


def hash_of(revision: Object) -> str:
    """What the revision's Pods are labelled with by a DaemonSet."""
    return labels_of(revision).get(HASH, "")


def template_of(revision: Object) -> dict[str, Any]:
    """The template that the revision keeps."""
    template = copy.deepcopy(revision["data"]["spec"]["template"])
    template.pop(_REPLACE, None)
    kept: dict[str, Any] = template
    return kept


def is_of(revision: Object, owner: Object) -> bool:
    """Whether the revision keeps the owner's present template."""
    return same_template(template_of(revision), owner["spec"]["template"])


def new_revision(owner: Object, number: int, collisions: int | None) -> Object:
    """The owner's present template as revision `number`.

    Args:
        collisions: how often a name was taken by something else.
    """
    template = owner["spec"]["template"]
    # Two kinds of owners of one name may have one template.
    salted = {"kind": owner["kind"], "template": template}
    digest = template_hash(salted, collisions)
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH: digest}
    metadata: Object = {
        "name": f"{owner['metadata']['name']}-{digest}",
        "namespace": owner["metadata"]["namespace"],
        "labels": labels,
        "ownerReferences": [controller_reference(owner)],
    }
    kept = {k: v for k, v in annotations_of(owner).items() if k != _LAST_APPLIED}
    if kept:
        metadata["annotations"] = kept
    return {
        "apiVersion": CONTROLLER_REVISION.api_version,
        "kind": CONTROLLER_REVISION.kind,
        "metadata": metadata,
        "revision": number,
        "data": {"spec": {"template": {**copy.deepcopy(template), _REPLACE: "replace"}}},
    }


def next_number(revisions: Sequence[Object]) -> int:
    """One more than the highest."""
    return max((r["revision"] for r in revisions), default=0) + 1


def superfluous(revisions: Sequence[Object], live: Collection[str], limit: int) -> list[Object]:
    """The oldest revisions, less those named in `live`, of which only `limit` stay."""
    idle = [r for r in ordered(revisions) if name_of(r) not in live]
    return idle[: max(len(idle) - limit, 0)]
