"""What one volume needs next: its phase, and what becomes of it when its claim is gone.

    Available > Bound > Released > gone (Delete), kept (Retain), Failed (nobody can delete it)

Source: Kubernetes documentation, "Persistent Volumes, Reclaiming"; upstream's binder (events).
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.controllers.action import Action, Emit, Update
from kubraft.api import storage
from kubraft.api.object import Object, annotations_of, uid_of

_DONE = ("Released", "Failed")


@dataclass(frozen=True, slots=True)
class Unsure:
    """The cache lacks the claim: ask the API server, then plan again with its answer."""


def plan_volume(volume: Object, claim: Object | None, *, sure: bool) -> list[Action] | Unsure:
    """The writes and events that bring `volume` one step further.

    Args:
        claim: the one of the volume's claimRef by name, of whatever uid.
        sure: whether `claim` was read from the API server, not from a cache.
    """
    ref = volume["spec"].get("claimRef")
    if not ref or not ref.get("uid"):
        return _phase(volume, "Available")
    if claim is None or uid_of(claim) != ref["uid"]:
        if storage.phase_of(volume) in _DONE:
            return _reclaim(volume)
        return _phase(volume, "Released") if sure else Unsure()
    name = claim["spec"].get("volumeName") or ""
    if not name:
        return _wait(volume, claim)
    if name == volume["metadata"]["name"]:
        return _phase(volume, "Bound")
    return _elsewhere(volume) if sure else Unsure()


def _wait(volume: Object, claim: Object) -> list[Action]:
    """The claim's own plan writes the volume's name into it, unless they do not fit."""
    if storage.mode_of(volume) == storage.mode_of(claim):
        return []
    text = (
        f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "'
        f'{claim["metadata"]["name"]}" due to incompatible volumeMode.'
    )
    of_claim = (
        f'Cannot bind PersistentVolume "{volume["metadata"]["name"]}" to requested '
        f'PersistentVolumeClaim "{claim["metadata"]["name"]}" due to incompatible volumeMode.'
    )
    return [
        Emit(volume, "Warning", "VolumeMismatch", text),
        Emit(claim, "Warning", "VolumeMismatch", of_claim),
    ]


def _elsewhere(volume: Object) -> list[Action]:
    """Its claim got another volume: this one is free again, or goes if it was made for it."""
    spec, annotations = dict(volume["spec"]), annotations_of(volume)
    if annotations.get(storage.PROVISIONED_BY) and _policy(volume) == "Delete":
        return _phase(volume, "Released") or _reclaim(volume)
    metadata = dict(volume["metadata"])
    if annotations.pop(storage.BOUND_BY_CONTROLLER, None):
        del spec["claimRef"]
        metadata["annotations"] = annotations
    else:  # somebody set it aside for a claim of that name: that stays
        spec["claimRef"] = {k: v for k, v in spec["claimRef"].items() if k not in _OF_ONE}
    return [Update({**volume, "metadata": metadata, "spec": spec})]


_OF_ONE = ("uid", "resourceVersion")


def _reclaim(volume: Object) -> list[Action]:
    """What the policy says of a volume that is released; whoever made it deletes it."""
    policy = _policy(volume)
    if policy == "Retain" or storage.phase_of(volume) == "Failed":
        return []
    if policy == "Recycle":
        return _fail(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!")
    if annotations_of(volume).get(storage.PROVISIONED_BY):
        return []
    text = (
        f'error getting deleter volume plugin for volume "{volume["metadata"]["name"]}": '
        "no deletable volume plugin matched"
    )
    return _fail(volume, "VolumeFailedDelete", text)


def _policy(volume: Object) -> str:
    return str(volume["spec"].get("persistentVolumeReclaimPolicy") or "Retain")


def _fail(volume: Object, reason: str, text: str) -> list[Action]:
    status = {**(volume.get("status") or {}), "phase": "Failed", "message": text}
    return [
        Update({**volume, "status": status}, "status"),
        Emit(volume, "Warning", reason, text),
    ]


def _phase(volume: Object, phase: str) -> list[Action]:
    if storage.phase_of(volume) == phase:
        return []
    return [Update({**volume, "status": {"phase": phase}}, "status")]
