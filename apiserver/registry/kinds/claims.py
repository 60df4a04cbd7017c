"""PersistentVolumes and PersistentVolumeClaims.

Source: Kubernetes API reference, core/v1; texts of upstream's validation.
"""

from __future__ import annotations

from collections.abc import Callable

from apiserver.registry import numbers
from apiserver.registry.causes import (
    all_invalid,
    forbidden,
    immutable,
    invalid,
    required,
    unsupported,
)
from apiserver.registry.columns import AGE, NAME, UNSET, cell, columns
from apiserver.registry.paths import at
from apiserver.registry.pod_defaults import canonical_amounts
from apiserver.registry.resource import Resource
from apiserver.registry.rules import RuleStrategy, check, fill, label_selector, one_of, under
from kubraft.api.errors import Cause
from kubraft.api.gvk import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM
from kubraft.api.names import dns1123_subdomain_errors
from kubraft.api.object import Object
from kubraft.api.quantity import Quantity, parse_quantity

_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
# What a volume's spec may have beside the one source of its data.
_NOT_SOURCES = {
    *("capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName"),
    *("mountOptions", "volumeMode", "nodeAffinity", "volumeAttributesClassName"),
}
_REQUEST = "spec.resources.requests.storage"
_CLASS = "volume.beta.kubernetes.io/storage-class"
_CLAIM_RULE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)


def default_claim(obj: Object) -> None:
    """Fill in a claim, or the template of one."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    for amounts in (spec.get("resources") or {}).values():
        canonical_amounts(amounts)


def validate_claim_spec(spec: Object, field: str) -> list[Cause]:
    """What is wrong with a claim's spec."""
    causes: list[Cause] = []
    modes = spec.get("accessModes") or []
    if not modes:
        causes.append(required(f"{field}.accessModes", "at least 1 access mode is required"))
    causes += _access_modes(modes, f"{field}.accessModes")
    causes += under(field, check(spec, [("selector", label_selector)]))
    requests = (spec.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        causes.append(required(f"{field}.resources[storage]"))
    else:
        path = f"{field}.resources[storage]"
        causes += numbers.amounts(path, {"storage": requests["storage"]}, of_container=False)
        if not causes and parse_quantity(requests["storage"]).nano == 0:
            causes.append(invalid(path, requests["storage"], "must be greater than zero"))
    if name := spec.get("storageClassName"):
        causes += all_invalid(f"{field}.storageClassName", name, dns1123_subdomain_errors(name))
    mode = spec.get("volumeMode")
    if mode not in (None, "Block", "Filesystem"):
        causes.append(unsupported(f"{field}.volumeMode", mode, ("Block", "Filesystem")))
    return causes


def _access_modes(modes: list[str], field: str) -> list[Cause]:
    causes = [unsupported(field, mode, _MODES) for mode in modes if mode not in _MODES]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        causes.append(forbidden(field, "may not use ReadWriteOncePod with other access modes"))
    return causes


def _claim_change(new: Object, old: Object) -> list[Cause]:
    causes: list[Cause] = []
    bound = at(old, "status.phase") == "Bound"
    after, before = dict(new["spec"]), dict(old["spec"])
    if not before.get("volumeName"):  # a volume is given once
        before.pop("volumeName", None)
        after.pop("volumeName", None)
    if before.get("storageClassName") is None:  # a class is filled in later
        after.pop("storageClassName", None)
    if bound:
        for spec in (after, before):
            spec["resources"] = {**(spec.get("resources") or {}), "requests": None}
            spec.pop("volumeAttributesClassName", None)
    if after != before:
        causes.append(forbidden("spec", _CLAIM_RULE))
    wanted, before_ = _amount(new, _REQUEST), _amount(old, _REQUEST)
    held = _amount(old, "status.capacity.storage")
    shrinks = wanted is not None and before_ is not None and wanted < before_
    # What it asks for may always have been less than the volume that it got.
    if bound and shrinks and wanted is not None and held is not None and wanted < held:
        causes.append(forbidden(_REQUEST, "field can not be less than status.capacity"))
    if new["spec"].get("volumeMode") != old["spec"].get("volumeMode"):
        causes.append(immutable("spec.volumeMode", new["spec"].get("volumeMode")))
    return causes


def _amount(obj: Object, path: str) -> Quantity | None:
    amount = at(obj, path)
    return None if amount is None else parse_quantity(amount)


def _validate_claim(obj: Object) -> list[Cause]:
    return validate_claim_spec(obj.get("spec") or {}, "spec")


def _volume_causes(obj: Object) -> list[Cause]:
    spec = obj.get("spec") or {}
    causes: list[Cause] = []
    modes, capacity = spec.get("accessModes") or [], spec.get("capacity") or {}
    if not modes:
        causes.append(required("spec.accessModes"))
    causes += _access_modes(modes, "spec.accessModes")
    if not capacity:
        causes.append(required("spec.capacity"))
    elif set(capacity) != {"storage"}:
        causes.append(unsupported("spec.capacity", capacity, ["storage"]))
    causes += numbers.amounts("spec.capacity", capacity, of_container=False)
    if not causes and parse_quantity(capacity["storage"]).nano == 0:
        text = "must be greater than zero"
        causes.append(invalid("spec.capacity[storage]", capacity["storage"], text))
    sources = sorted(set(spec) - _NOT_SOURCES)
    if not sources:
        causes.append(required("spec", "must specify a volume type"))
    causes += [
        forbidden(f"spec.{source}", "may not specify more than 1 volume type")
        for source in sources[1:]
    ]
    if "hostPath" in spec:
        path = spec["hostPath"].get("path", "")
        if not path:
            causes.append(required("spec.hostPath.path"))
        elif ".." in path.split("/"):
            causes.append(invalid("spec.hostPath.path", path, "must not contain '..'"))
        if path == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            text = "may not be 'recycle' for a hostPath mount of '/'"
            causes.append(forbidden("spec.persistentVolumeReclaimPolicy", text))
    if "local" in spec and not at(spec, "nodeAffinity.required"):
        text = "Local volume requires node affinity"
        causes.append(required("metadata.annotations", text))
    if name := spec.get("storageClassName"):
        causes += all_invalid("spec.storageClassName", name, dns1123_subdomain_errors(name))
    return causes


def _volume_change(new: Object, old: Object) -> list[Cause]:
    after, before = new["spec"], old["spec"]
    causes: list[Cause] = []
    if {k: v for k, v in after.items() if k not in _NOT_SOURCES} != {
        k: v for k, v in before.items() if k not in _NOT_SOURCES
    }:
        text = "spec.persistentvolumesource is immutable after creation"
        causes.append(forbidden("spec.persistentvolumesource", text))
    if before.get("nodeAffinity") and after.get("nodeAffinity") != before["nodeAffinity"]:
        text = "field is immutable, except for updating from beta label to GA"
        causes.append(invalid("spec.nodeAffinity", after.get("nodeAffinity"), text))
    return causes


class ClaimStrategy(RuleStrategy):
    """The rules of claims."""

    def validate(self, obj: Object) -> list[Cause]:
        return _validate_claim(obj)


class VolumeStrategy(RuleStrategy):
    """The rules of volumes."""

    def validate(self, obj: Object) -> list[Cause]:
        return super().validate(obj) + _volume_causes(obj)


def _default_volume(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    fill(obj, "spec.hostPath.type", "")
    canonical_amounts(spec.get("capacity"))


def _modes(path: str) -> Callable[[Object], str]:
    def text(obj: Object) -> str:
        found = at(obj, path) or ()
        return ",".join(short for mode, short in _MODES.items() if mode in found)

    return text


def _class_of(obj: Object) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    return str(annotations.get(_CLASS) or at(obj, "spec.storageClassName") or "")


def _phase(obj: Object) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(at(obj, "status.phase") or "")


def _claim(obj: Object) -> str:
    claim = at(obj, "spec.claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _capacity_of_bound(obj: Object) -> str:
    return str(at(obj, "status.capacity.storage") or "") if at(obj, "spec.volumeName") else ""


def _modes_of_bound(obj: Object) -> str:
    return _modes("status.accessModes")(obj) if at(obj, "spec.volumeName") else ""


ROWS = (
    Resource(
        PERSISTENT_VOLUME,
        "persistentvolumes",
        VolumeStrategy(
            default=_default_volume,
            checks=(
                (
                    "spec.persistentVolumeReclaimPolicy",
                    one_of("Delete", "Recycle", "Retain"),
                ),
                ("spec.volumeMode", one_of("Block", "Filesystem")),
            ),
            fixed={"spec.volumeMode": ""},
            change=_volume_change,
            status={"phase": "Pending"},
        ),
        columns(
            NAME,
            cell("Capacity", "spec.capacity.storage"),
            cell("Access Modes", _modes("spec.accessModes")),
            cell("Reclaim Policy", "spec.persistentVolumeReclaimPolicy"),
            cell("Status", _phase),
            cell("Claim", _claim),
            cell("StorageClass", _class_of),
            cell("VolumeAttributesClass", "spec.volumeAttributesClassName", none=UNSET),
            cell("Reason", "status.reason"),
            AGE,
            cell("VolumeMode", "spec.volumeMode", none=UNSET, wide=True),
        ),
        namespaced=False,
        short_names=("pv",),
        subresources=("status",),
    ),
    Resource(
        PERSISTENT_VOLUME_CLAIM,
        "persistentvolumeclaims",
        ClaimStrategy(default=default_claim, change=_claim_change, status={"phase": "Pending"}),
        columns(
            NAME,
            cell("Status", _phase),
            cell("Volume", "spec.volumeName"),
            cell("Capacity", _capacity_of_bound),
            cell("Access Modes", _modes_of_bound),
            cell("StorageClass", _class_of),
            cell("VolumeAttributesClass", "spec.volumeAttributesClassName", none=UNSET),
            AGE,
            cell("VolumeMode", "spec.volumeMode", none=UNSET, wide=True),
        ),
        short_names=("pvc",),
        subresources=("status",),
    ),
)
