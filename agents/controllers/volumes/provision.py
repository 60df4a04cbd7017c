"""Volumes of the class of local directories: what one looks like, when it is made and removed.

A volume is an object alone until a Pod uses it: its node's agent makes the directory when it is
first mounted, and removes it when the volume is deleted, which the finalizer waits for.

Source: upstream's protocol of external provisioners (annotations, events, volume names).
"""

from __future__ import annotations

from collections.abc import Callable

from agents.controllers.action import Action, Create, Delete, Emit, Update
from kubraft.api import storage
from kubraft.api.gvk import PERSISTENT_VOLUME, STORAGE_CLASS
from kubraft.api.hollow import is_hollow
from kubraft.api.object import Object, annotations_of, is_terminating, key_of, labels_of, uid_of

_HOSTNAME = "kubernetes.io/hostname"
_MODES = {"ReadWriteOnce", "ReadWriteOncePod"}


def local_class(name: str) -> Object:
    """The class of these volumes, as the cluster's default."""
    return {
        "apiVersion": STORAGE_CLASS.api_version,
        "kind": STORAGE_CLASS.kind,
        "metadata": {"name": name, "annotations": {storage.DEFAULT_CLASS: "true"}},
        "provisioner": storage.LOCAL_PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def volume_name(claim: Object) -> str:
    """The same at every try, so that a claim never gets two."""
    return f"pvc-{uid_of(claim)}"


def is_ours(claim: Object) -> bool:
    """Whether a claim waits for a local directory."""
    named = annotations_of(claim).get(storage.PROVISIONER) == storage.LOCAL_PROVISIONER
    return named and not claim["spec"].get("volumeName") and not is_terminating(claim)


def plan_provision(
    claim: Object, storage_class: Object | None, find_node: Callable[[str], Object | None]
) -> list[Action]:
    """Make the volume of a claim that `is_ours`, on the node that the scheduler chose for it."""
    if storage_class is None or storage_class["provisioner"] != storage.LOCAL_PROVISIONER:
        return []
    chosen = annotations_of(claim).get(storage.SELECTED_NODE, "")
    if not chosen and storage.waits_for_consumer(storage_class):
        return []
    name = storage_class["metadata"]["name"]
    if why := _refusal(claim, chosen):
        text = f'failed to provision volume with StorageClass "{name}": {why}'
        return [Emit(claim, "Warning", "ProvisioningFailed", text)]
    node = find_node(chosen)
    if node is None:
        return _reschedule(claim, name, chosen)
    began = f'External provisioner is provisioning volume for claim "{key_of(claim)}"'
    done = f"Successfully provisioned volume {volume_name(claim)}"
    return [
        Emit(claim, "Normal", "Provisioning", began),
        Create(_volume(claim, storage_class, node)),
        Emit(claim, "Normal", "ProvisioningSucceeded", done),
    ]


def _refusal(claim: Object, node: str) -> str:
    if not set(claim["spec"].get("accessModes") or ()) <= _MODES:
        return "NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes"
    if storage.mode_of(claim) != "Filesystem":
        return "block volumes are not supported by this provisioner"
    if claim["spec"].get("selector"):
        return "claim.Spec.Selector is not supported"
    if claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef"):
        return "data sources are not supported by this provisioner"
    return "" if node else "configuration error, no node was specified"


def _reschedule(claim: Object, storage_class: str, node: str) -> list[Action]:
    """Give the choice back to the scheduler: the node is gone."""
    annotations = annotations_of(claim)
    del annotations[storage.SELECTED_NODE]
    why = f'node "{node}" not found'
    text = f'failed to provision volume with StorageClass "{storage_class}": {why}'
    return [
        Update({**claim, "metadata": {**claim["metadata"], "annotations": annotations}}),
        Emit(claim, "Warning", "ProvisioningFailed", text),
    ]


def _volume(claim: Object, storage_class: Object, node: Object) -> Object:
    name = key_of(node).name
    hostname = labels_of(node).get(_HOSTNAME, name)
    expression = {"key": _HOSTNAME, "operator": "In", "values": [hostname]}
    spec = {
        "accessModes": claim["spec"]["accessModes"],
        "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        "claimRef": storage.reference_to(claim),
        "csi": {"driver": storage.LOCAL_PROVISIONER, "volumeHandle": volume_name(claim)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "storageClassName": storage_class["metadata"]["name"],
        "volumeMode": "Filesystem",
    }
    return {
        "apiVersion": PERSISTENT_VOLUME.api_version,
        "kind": PERSISTENT_VOLUME.kind,
        "metadata": {
            "name": volume_name(claim),
            "annotations": {storage.PROVISIONED_BY: storage.LOCAL_PROVISIONER},
            "labels": {storage.LOCAL_NODE: name},
            # A hollow node has no directories, and nobody who says that they are gone.
            "finalizers": [] if is_hollow(node) else [storage.LOCAL_FINALIZER],
        },
        "spec": spec,
    }


def is_made_here(volume: Object) -> bool:
    """Whether a volume is a directory that this provisioner gave."""
    return annotations_of(volume).get(storage.PROVISIONED_BY) == storage.LOCAL_PROVISIONER


def plan_reclaim(volume: Object) -> list[Action]:
    """Delete a released volume whose policy says so; at that version, or its policy may differ."""
    policy = volume["spec"].get("persistentVolumeReclaimPolicy")
    if policy != "Delete" or storage.phase_of(volume) != "Released" or is_terminating(volume):
        return []
    version = volume["metadata"]["resourceVersion"]
    key = key_of(volume)
    return [Delete(PERSISTENT_VOLUME, key, uid_of(volume), resource_version=version)]


def abandoned(volume: Object) -> Object:
    """A terminating volume of a node that is gone for good: nobody can remove the directory."""
    finalizers = volume["metadata"].get("finalizers") or []
    kept = [each for each in finalizers if each != storage.LOCAL_FINALIZER]
    return {**volume, "metadata": {**volume["metadata"], "finalizers": kept}}


def plan_growth(claim: Object, volume: Object, storage_class: Object | None) -> list[Action]:
    """Let a bound claim have what it asks for now: a directory has no size of its own."""
    wanted = storage.requested(claim)
    if storage_class is None or storage_class.get("allowVolumeExpansion") is not True:
        return []
    amount = claim["spec"]["resources"]["requests"]["storage"]
    if storage.capacity(volume) < wanted:
        spec = {**volume["spec"], "capacity": {"storage": amount}}
        return [Update({**volume, "spec": spec})]
    status = claim.get("status") or {}
    if (status.get("capacity") or {}).get("storage") == amount:
        return []
    changed = {**claim, "status": {**status, "capacity": {"storage": amount}}}
    text = "Resize volume succeeded"
    return [Update(changed, "status"), Emit(claim, "Normal", "VolumeResizeSuccessful", text)]
