"""Claims, volumes and classes as controllers, scheduler and node agents read them. Pure.

Source: Kubernetes documentation, "Persistent Volumes", "Storage Classes", "Ephemeral Volumes";
annotations and the order of preference as upstream's binder has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from kubraft.api.gvk import PERSISTENT_VOLUME_CLAIM
from kubraft.api.labels import selector_from_object
from kubraft.api.node_selector import selects_node
from kubraft.api.object import Object, ObjectKey, annotations_of, is_terminating, labels_of, uid_of
from kubraft.api.quantity import Quantity, parse_quantity

BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER: Final = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
CLAIM_PROTECTION: Final = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION: Final = "kubernetes.io/pv-protection"
_BETA_DEFAULT_CLASS: Final = "storageclass.beta.kubernetes.io/is-default-class"
_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"

# The provisioner that node agents bring along: directories in their own data directory.
LOCAL_PROVISIONER: Final = "kubraft.io/local"
# Of its volumes: which node has the directory, and that it is still to be removed there.
LOCAL_NODE: Final = "kubraft.io/node"
LOCAL_FINALIZER: Final = "kubraft.io/local-volume"

NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"
_NOTHING: Final = parse_quantity("0")


def class_of(obj: Object) -> str:
    """The storage class that a claim asks for or a volume has; "" for none."""
    return annotations_of(obj).get(_BETA_CLASS) or obj["spec"].get("storageClassName") or ""


def names_no_class(claim: Object) -> bool:
    """Whether a claim leaves its class to the cluster; one that says "" does not."""
    return claim["spec"].get("storageClassName") is None and _BETA_CLASS not in annotations_of(
        claim
    )


def is_default_class(storage_class: Object) -> bool:
    """Whether claims that name no class get this one."""
    annotations = annotations_of(storage_class)
    return "true" in (annotations.get(DEFAULT_CLASS), annotations.get(_BETA_DEFAULT_CLASS))


def default_class(classes: Iterable[Object]) -> Object | None:
    """The class for claims that name none: of several the youngest, then by name."""
    marked = sorted(filter(is_default_class, classes), key=lambda c: str(c["metadata"]["name"]))
    marked.sort(key=lambda c: str(c["metadata"].get("creationTimestamp", "")), reverse=True)
    return marked[0] if marked else None


def waits_for_consumer(storage_class: Object | None) -> bool:
    """Whether the claims of a class are bound only when a Pod that uses them has a node."""
    return (storage_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer"


def requested(claim: Object) -> Quantity:
    """How much a claim asks for."""
    requests = (claim["spec"].get("resources") or {}).get("requests") or {}
    return parse_quantity(requests.get("storage", "0"))


def capacity(volume: Object) -> Quantity:
    """How much a volume has."""
    amount = (volume["spec"].get("capacity") or {}).get("storage")
    return _NOTHING if amount is None else parse_quantity(amount)


def mode_of(obj: Object) -> str:
    """Filesystem or Block."""
    return str(obj["spec"].get("volumeMode") or "Filesystem")


def phase_of(obj: Object) -> str:
    """`status.phase` of a claim or volume."""
    return str((obj.get("status") or {}).get("phase") or "")


def is_bound(claim: Object) -> bool:
    """Whether a claim has its volume for good."""
    return bool(claim["spec"].get("volumeName")) and BIND_COMPLETED in annotations_of(claim)


def claim_key(volume: Object) -> ObjectKey | None:
    """The claim that a volume is for, or None."""
    ref = volume["spec"].get("claimRef")
    return ObjectKey(ref.get("namespace", ""), ref.get("name", "")) if ref else None


def is_for(volume: Object, claim: Object) -> bool:
    """Whether a volume is set aside for this very claim; a reference without uid is a wish."""
    ref = volume["spec"].get("claimRef")
    if not ref:
        return False
    metadata = claim["metadata"]
    if (ref.get("namespace"), ref.get("name")) != (metadata.get("namespace"), metadata["name"]):
        return False
    return ref.get("uid", "") in ("", uid_of(claim))


def reference_to(claim: Object) -> dict[str, Any]:
    """What `claimRef` says of a claim."""
    metadata = claim["metadata"]
    return {
        "apiVersion": PERSISTENT_VOLUME_CLAIM.api_version,
        "kind": PERSISTENT_VOLUME_CLAIM.kind,
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": uid_of(claim),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }


def reaches(volume: Object, node: str, labels: Mapping[str, str]) -> bool:
    """Whether a volume can be used on a node."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return required is None or selects_node(required, node, labels)


def mismatch(volume: Object, claim: Object) -> str:
    """Why a volume that a claim names cannot be its own, in upstream's words; "" where it can."""
    if requested(claim) > capacity(volume):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if mode_of(volume) != mode_of(claim):
        return "incompatible volumeMode"
    if not _offers_modes(volume, claim):
        return "incompatible accessMode"
    return ""


def best_volume(
    volumes: Iterable[Object],
    claim: Object,
    *,
    node: tuple[str, Mapping[str, str]] | None = None,
    delayed: bool = False,
    taken: Iterable[str] = (),
) -> Object | None:
    """The volume that a claim should get: one set aside for it, else the smallest that suits.

    Args:
        volumes: all that there are.
        node: name and labels of the node that must reach it; None while none is chosen.
        delayed: the claim waits for its consumer: without a node only what is set aside counts.
        taken: names of volumes that are on their way to other claims.
    """
    wanted, selector = requested(claim), selector_from_object(claim["spec"].get("selector"))
    excluded = frozenset(taken)
    best: Object | None = None
    for volume in volumes:
        name = volume["metadata"]["name"]
        if name in excluded or capacity(volume) < wanted or is_terminating(volume):
            continue
        if mode_of(volume) != mode_of(claim) or _attributes(volume) != _attributes(claim):
            continue
        if volume["spec"].get("claimRef"):
            if not is_for(volume, claim):
                continue
            return volume if node is None or reaches(volume, *node) else None
        if node is None and delayed:
            continue
        if phase_of(volume) != "Available" or class_of(volume) != class_of(claim):
            continue
        if claim["spec"].get("selector") and not selector.matches(labels_of(volume)):
            continue
        if not _offers_modes(volume, claim) or (node and not reaches(volume, *node)):
            continue
        if best is None or _order(volume) < _order(best):
            best = volume
    return best


def _order(volume: Object) -> tuple[int, str]:
    return capacity(volume).nano, volume["metadata"]["name"]


def _offers_modes(volume: Object, claim: Object) -> bool:
    return set(claim["spec"].get("accessModes") or ()) <= set(
        volume["spec"].get("accessModes") or ()
    )


def _attributes(obj: Object) -> str:
    return obj["spec"].get("volumeAttributesClassName") or ""


def claims_of_pod(pod: Object) -> Iterator[tuple[dict[str, Any], str, bool]]:
    """A Pod's volumes that are claims: each with the claim's name, and whether it is its own."""
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield volume, volume["persistentVolumeClaim"]["claimName"], False
        elif volume.get("ephemeral") is not None:
            yield volume, f"{pod['metadata']['name']}-{volume['name']}", True


def is_made_for(claim: Object, pod: Object) -> bool:
    """Whether a claim was made for an ephemeral volume of this very Pod."""
    owners = claim["metadata"].get("ownerReferences") or ()
    return any(each.get("controller") and each["uid"] == uid_of(pod) for each in owners)
