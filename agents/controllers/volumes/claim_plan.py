"""What one claim needs next: a volume, a class, a provisioner, or a word on why it has none.

    Pending > (claimRef on the volume, volumeName on the claim) > Bound > Lost

A volume is given away by one write alone, its claimRef, at the version that was seen free: two
claims never get the same. All later steps only repeat what that reference says, so a binder that
dies between any two of them is continued by the next one.

Source: Kubernetes documentation, "Persistent Volumes, Binding"; upstream's binder (events, order).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.controllers.action import Action, Emit, Update
from kubraft.api import storage
from kubraft.api.object import Object, annotations_of, is_terminating, uid_of
from kubraft.api.pods import node_of

_NO_CLASS = "no persistent volumes available for this claim and no storage class is set"
_WAITS = "waiting for first consumer to be created before binding"
_EXTERNAL = (
    "Waiting for a volume to be created either by the external provisioner '{}' or manually by "
    "the system administrator. If volume creation is delayed, please verify that the provisioner "
    "is running and correctly registered."
)


@dataclass(frozen=True, slots=True)
class Picture:
    """What a claim's plan is made from.

    Attributes:
        find_volume: by name.
        volumes: those of the claim's class, and those set aside for it.
        classes: all, by name.
        pods: those that use the claim.
    """

    find_volume: Callable[[str], Object | None]
    volumes: Iterable[Object] = ()
    classes: Mapping[str, Object] | None = None
    pods: Iterable[Object] = ()


def plan_claim(claim: Object, picture: Picture) -> list[Action]:
    """The writes and events that bring `claim` one step further; none where nothing is to do."""
    if storage.BIND_COMPLETED in annotations_of(claim):
        return _bound(claim, picture)
    if is_terminating(claim):
        return []
    if claim["spec"].get("volumeName"):
        return _named(claim, picture)
    return _unbound(claim, picture)


def _bound(claim: Object, picture: Picture) -> list[Action]:
    name = claim["spec"].get("volumeName") or ""
    if not name:
        text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        return _lost(claim, "ClaimLost", text)
    volume = picture.find_volume(name)
    if volume is None:
        text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        return _lost(claim, "ClaimLost", text)
    if volume["spec"].get("claimRef") and not storage.is_for(volume, claim):
        text = "Two claims are bound to the same volume, this one is bound incorrectly"
        return _lost(claim, "ClaimMisbound", text)
    return bind(volume, claim)


def _named(claim: Object, picture: Picture) -> list[Action]:
    """The user (or the scheduler) has named the volume."""
    name = claim["spec"]["volumeName"]
    volume = picture.find_volume(name)
    if volume is None:
        return _pending(claim)
    if not volume["spec"].get("claimRef"):
        if why := storage.mismatch(volume, claim):
            text = f'Cannot bind to requested volume "{name}": {why}'
            return [Emit(claim, "Warning", "VolumeMismatch", text), *_pending(claim)]
        return bind(volume, claim)
    if storage.is_for(volume, claim):
        return bind(volume, claim)
    text = f'volume "{name}" already bound to a different claim.'
    return [Emit(claim, "Warning", "FailedBinding", text), *_pending(claim)]


def _unbound(claim: Object, picture: Picture) -> list[Action]:
    classes = picture.classes or {}
    storage_class = classes.get(storage.class_of(claim))
    delayed = storage.waits_for_consumer(storage_class)
    volume = storage.best_volume(picture.volumes, claim, delayed=delayed)
    if volume is not None:
        return bind(volume, claim)
    if storage.names_no_class(claim):
        chosen = storage.default_class(classes.values())
        if chosen is not None:
            spec = {**claim["spec"], "storageClassName": chosen["metadata"]["name"]}
            return [Update({**claim, "spec": spec})]
    if delayed and not annotations_of(claim).get(storage.SELECTED_NODE):
        return [_waiting(claim, picture.pods), *_pending(claim)]
    name = storage.class_of(claim)
    if not name:
        return [Emit(claim, "Normal", "FailedBinding", _NO_CLASS), *_pending(claim)]
    if storage_class is None:
        text = f'storageclass.storage.k8s.io "{name}" not found'
        return [Emit(claim, "Warning", "ProvisioningFailed", text), *_pending(claim)]
    return _pending(claim) or _provision(claim, str(storage_class["provisioner"]))


def _waiting(claim: Object, pods: Iterable[Object]) -> Emit:
    names = sorted(pod["metadata"]["name"] for pod in pods if not node_of(pod))
    if not names:
        return Emit(claim, "Normal", "WaitForFirstConsumer", _WAITS)
    noun = "pods" if len(names) > 1 else "pod"
    text = f"waiting for {noun} {','.join(names)} to be scheduled"
    return Emit(claim, "Normal", "WaitForPodScheduled", text)


def _provision(claim: Object, provisioner: str) -> list[Action]:
    if provisioner.startswith("kubernetes.io/"):
        text = f"no volume plugin matched name: {provisioner}"
        return [Emit(claim, "Warning", "ProvisioningFailed", text)]
    said = Emit(claim, "Normal", "ExternalProvisioning", _EXTERNAL.format(provisioner))
    wanted = {storage.PROVISIONER: provisioner, storage.BETA_PROVISIONER: provisioner}
    annotations = annotations_of(claim)
    if all(annotations.get(name) == value for name, value in wanted.items()):
        return [said]
    return [Update(_annotated(claim, wanted)), said]


def bind(volume: Object, claim: Object) -> list[Action]:
    """The steps that are left until both sides say that they belong together."""
    ref = volume["spec"].get("claimRef") or {}
    if ref.get("uid") != uid_of(claim):
        fresh = {**volume, "spec": {**volume["spec"], "claimRef": storage.reference_to(claim)}}
        if not ref:
            fresh = _annotated(fresh, {storage.BOUND_BY_CONTROLLER: "yes"})
        return [Update(fresh), *_give(claim, volume)]
    return _give(claim, volume) or _status(claim, volume)


def _give(claim: Object, volume: Object) -> list[Action]:
    """Write the volume's name into the claim."""
    wanted = {storage.BIND_COMPLETED: "yes"}
    if not claim["spec"].get("volumeName"):
        wanted[storage.BOUND_BY_CONTROLLER] = "yes"
    elif storage.BIND_COMPLETED in annotations_of(claim):
        return []
    spec = {**claim["spec"], "volumeName": volume["metadata"]["name"]}
    return [Update(_annotated({**claim, "spec": spec}, wanted))]


def _status(claim: Object, volume: Object) -> list[Action]:
    status = dict(claim.get("status") or {})
    wanted: dict[str, Any] = {"phase": "Bound", "accessModes": volume["spec"].get("accessModes")}
    # What a bound claim has grows by its expansion alone, never by an edit of its volume.
    if status.get("phase") != "Bound" or not status.get("capacity"):
        wanted["capacity"] = dict(volume["spec"].get("capacity") or {})
    if all(status.get(name) == value for name, value in wanted.items()):
        return []
    return [Update({**claim, "status": {**status, **wanted}}, "status")]


def _pending(claim: Object) -> list[Action]:
    if storage.phase_of(claim) == "Pending":
        return []
    return [Update({**claim, "status": {"phase": "Pending"}}, "status")]


def _lost(claim: Object, reason: str, text: str) -> list[Action]:
    if storage.phase_of(claim) == "Lost":
        return []
    changed = {**claim, "status": {"phase": "Lost"}}
    return [Update(changed, "status"), Emit(claim, "Warning", reason, text)]


def _annotated(obj: Object, annotations: Mapping[str, str]) -> Object:
    metadata = copy.copy(obj["metadata"])
    metadata["annotations"] = {**annotations_of(obj), **annotations}
    return {**obj, "metadata": metadata}
