"""A Pod as a ReplicaSet's template makes it."""

from __future__ import annotations

import copy

from agents.controllers.ownership import controller_reference
from kubraft.api.gvk import POD
from kubraft.api.object import Object


def pod_of_template(owner: Object, name: str) -> Object:
    """The Pod `name` of `owner`'s `spec.template`, controlled by `owner`."""
    template = owner["spec"]["template"]
    wanted = template.get("metadata") or {}
    metadata: Object = {
        "name": name,
        "generateName": name_prefix(owner),
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [controller_reference(owner)],
    }
    for part in ("labels", "annotations", "finalizers"):
        if wanted.get(part):
            metadata[part] = copy.copy(wanted[part])
    return {
        "apiVersion": POD.api_version,
        "kind": POD.kind,
        "metadata": metadata,
        "spec": copy.deepcopy(template["spec"]),
    }


def name_prefix(owner: Object) -> str:
    """What the names of the owner's Pods begin with."""
    return f"{owner['metadata']['name']}-"
