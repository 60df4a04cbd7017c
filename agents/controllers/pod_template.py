"""A Pod as the template of a ReplicaSet, a Job, a DaemonSet or a StatefulSet makes it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from agents.controllers.ownership import controller_reference
from kubraft.api.gvk import POD
from kubraft.api.object import Object


def pod_of_template(
    owner: Object,
    name: str,
    template: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Object:
    """The Pod `name`, controlled by `owner`.

    Args:
        template: a PodTemplateSpec, the owner's `spec.template` where absent.
        labels: what the Pod has beside the template's labels, and before them.
    """
    template = template or owner["spec"]["template"]
    wanted = template.get("metadata") or {}
    wanted = {**wanted, "labels": {**(wanted.get("labels") or {}), **(labels or {})}}
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
