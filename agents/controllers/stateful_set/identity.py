"""Who the Pods of a StatefulSet are: ordinals, names, claims, and what they keep.

Source: Kubernetes documentation, "StatefulSets, Pod Identity", "PersistentVolumeClaim retention".
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from agents.controllers.pod_template import pod_of_template
from kubraft.api.gvk import PERSISTENT_VOLUME_CLAIM, POD
from kubraft.api.object import Object, labels_of, uid_of

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
REVISION = "controller-revision-hash"
_ORDINAL = re.compile(r"(.+)-(0|[1-9][0-9]*)")


def start_of(owner: Object) -> int:
    """The first ordinal."""
    return int((owner["spec"].get("ordinals") or {}).get("start") or 0)


def replicas_of(owner: Object) -> int:
    """How many Pods are wanted; 1 where absent."""
    count = owner["spec"].get("replicas")
    return 1 if count is None else int(count)


def ordinals_of(owner: Object) -> range:
    """The ordinals that should have a Pod."""
    return range(start_of(owner), start_of(owner) + replicas_of(owner))


def ordinal_of(owner: Object, pod: Object) -> int | None:
    """The Pod's ordinal, by its name; None where it is not one of the owner's."""
    found = _ORDINAL.fullmatch(pod["metadata"]["name"])
    if found is None or found[1] != owner["metadata"]["name"]:
        return None
    return int(found[2])


def pod_name(owner: Object, ordinal: int) -> str:
    """The name of the Pod of that ordinal."""
    return f"{owner['metadata']['name']}-{ordinal}"


def revision_of(pod: Object) -> str:
    """The name of the revision that the Pod was made of."""
    return labels_of(pod).get(REVISION, "")


def claim_name(owner: Object, template: Mapping[str, Any], ordinal: int) -> str:
    """The name of a Pod's claim."""
    return f"{template['metadata']['name']}-{pod_name(owner, ordinal)}"


def claims_of(owner: Object, ordinal: int) -> list[Object]:
    """The claims that the Pod of that ordinal needs, as they are made."""
    return [
        {
            "apiVersion": PERSISTENT_VOLUME_CLAIM.api_version,
            "kind": PERSISTENT_VOLUME_CLAIM.kind,
            "metadata": {
                **{k: v for k, v in template["metadata"].items() if k in ("labels", "annotations")},
                "name": claim_name(owner, template, ordinal),
                "namespace": owner["metadata"]["namespace"],
                "labels": {
                    **(template["metadata"].get("labels") or {}),
                    **((owner["spec"].get("selector") or {}).get("matchLabels") or {}),
                },
            },
            "spec": copy.deepcopy(template["spec"]),
        }
        for template in owner["spec"].get("volumeClaimTemplates") or ()
    ]


def stateful_pod(owner: Object, template: Mapping[str, Any], ordinal: int, revision: str) -> Object:
    """The Pod of that ordinal, made of `template`, which `revision` keeps."""
    name = pod_name(owner, ordinal)
    labels = {REVISION: revision, POD_NAME: name, POD_INDEX: str(ordinal)}
    pod = pod_of_template(owner, name, template, labels)
    spec = pod["spec"]
    spec["hostname"] = name
    if owner["spec"].get("serviceName"):
        spec["subdomain"] = owner["spec"]["serviceName"]
    _mount(owner, spec, ordinal)
    return pod


def _mount(owner: Object, spec: Object, ordinal: int) -> None:
    """Each claim is a volume of its template's name, in the place of one of the Pod's template."""
    claims = owner["spec"].get("volumeClaimTemplates") or ()
    names = {template["metadata"]["name"] for template in claims}
    volumes = [v for v in spec.get("volumes") or () if v.get("name") not in names]
    for template in claims:
        claim = {"claimName": claim_name(owner, template, ordinal)}
        volumes.append({"name": template["metadata"]["name"], "persistentVolumeClaim": claim})
    if volumes:
        spec["volumes"] = volumes


def retained(owner: Object, claim: Object, pod: Object | None, *, condemned: bool) -> Object | None:
    """The claim with the owners that the retention policy gives it; None where it has them.

    Args:
        pod: the claim's Pod, if there is one.
        condemned: whether that Pod's ordinal is wanted no longer.
    """
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    with_set = policy.get("whenDeleted") == "Delete"
    with_pod = policy.get("whenScaled") == "Delete" and condemned
    references = claim["metadata"].get("ownerReferences") or []
    kept = [r for r in references if r.get("kind") not in (owner["kind"], POD.kind)]
    if with_pod and pod is not None:
        kept.append(_reference(pod))
    elif with_set:
        kept.append(_reference(owner))
    if [r["uid"] for r in kept] == [r["uid"] for r in references]:
        return None
    metadata = {k: v for k, v in claim["metadata"].items() if k != "ownerReferences"}
    if kept:
        metadata["ownerReferences"] = kept
    return {**claim, "metadata": metadata}


def _reference(owner: Object) -> dict[str, Any]:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": uid_of(owner),
    }
