"""StorageClasses, and what CSI drivers are known by.

Source: Kubernetes API reference, storage.k8s.io/v1; texts of upstream's validation.
"""

from __future__ import annotations

from typing import Final

from apiserver.registry import numbers
from apiserver.registry.causes import all_invalid, required
from apiserver.registry.columns import AGE, NAME, UNSET, Cell, cell, columns
from apiserver.registry.paths import Place, at
from apiserver.registry.resource import Resource
from apiserver.registry.rules import (
    RuleStrategy,
    at_least,
    label_selector,
    named,
    needed,
    one_of,
    truly,
    unique,
)
from kubraft.api.errors import Cause
from kubraft.api.gvk import CSI_NODE, STORAGE_CLASS, VOLUME_ATTACHMENT, GroupVersionKind
from kubraft.api.names import dns1123_subdomain_errors, qualified_name_errors
from kubraft.api.object import Object, annotations_of

_GROUP = ("storage.k8s.io", "v1")
CSI_DRIVER = GroupVersionKind(*_GROUP, "CSIDriver")
CSI_STORAGE_CAPACITY = GroupVersionKind(*_GROUP, "CSIStorageCapacity")
VOLUME_ATTRIBUTES_CLASS = GroupVersionKind(*_GROUP, "VolumeAttributesClass")

DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_PARAMETERS_MAX: Final = 512
_DRIVER_NAME_MAX: Final = 63
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def _qualified(place: Place) -> list[Cause]:
    return all_invalid(place.field, place.value, qualified_name_errors(place.value.lower()))


def _driver_name(name: str) -> list[str]:
    if len(name) > _DRIVER_NAME_MAX:
        return [f"must be no more than {_DRIVER_NAME_MAX} characters"]
    return dns1123_subdomain_errors(name.lower())


def _source(place: Place) -> list[Cause]:
    source = place.value or {}
    given = [n for n in ("persistentVolumeName", "inlineVolumeSpec") if source.get(n)]
    return [] if len(given) == 1 else [required(place.field, _ONE_SOURCE)]


def _capacity(place: Place) -> list[Cause]:
    if place.value is None:
        return []
    return numbers.amounts(place.field, {place.name: place.value}, of_container=False)


def _default_driver(obj: Object) -> None:
    spec = obj.get("spec")
    if isinstance(spec, dict) and not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def _class_name(obj: Object) -> str:
    annotations = annotations_of(obj)
    default = any(annotations.get(name) == "true" for name in DEFAULT_CLASS)
    return f"{obj['metadata']['name']} (default)" if default else str(obj["metadata"]["name"])


def _audiences(obj: Object) -> str:
    requests = at(obj, "spec.tokenRequests") or ()
    return ",".join(r.get("audience", "") for r in requests) or UNSET


ROWS = (
    Resource(
        STORAGE_CLASS,
        "storageclasses",
        RuleStrategy(
            defaults={"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
            checks=(
                ("provisioner", needed(), _qualified),
                (
                    "parameters",
                    truly(
                        lambda v: len(v) <= _PARAMETERS_MAX,
                        f"Provisioner Parameters exceeded max allowed {_PARAMETERS_MAX}",
                    ),
                ),
                ("reclaimPolicy", one_of("Delete", "Retain")),
                ("volumeBindingMode", one_of("Immediate", "WaitForFirstConsumer")),
            ),
            fixed={
                "parameters": "updates to parameters are forbidden.",
                "provisioner": "updates to provisioner are forbidden.",
                "reclaimPolicy": "updates to reclaimPolicy are forbidden.",
                "volumeBindingMode": "",
            },
        ),
        columns(
            Cell(NAME.column, lambda obj, _: _class_name(obj)),
            cell("Provisioner", "provisioner"),
            cell("ReclaimPolicy", "reclaimPolicy", none="Delete"),
            cell("VolumeBindingMode", "volumeBindingMode", none=UNSET),
            cell("AllowVolumeExpansion", "allowVolumeExpansion", none="false"),
            AGE,
        ),
        namespaced=False,
        short_names=("sc",),
    ),
    Resource(
        VOLUME_ATTACHMENT,
        "volumeattachments",
        RuleStrategy(
            checks=(
                ("spec.attacher", needed(), named(_driver_name)),
                ("spec.source", _source),
                ("spec.nodeName", needed(), named(dns1123_subdomain_errors)),
            ),
            fixed={"spec": ""},
            status={"attached": False},
        ),
        columns(
            NAME,
            cell("Attacher", "spec.attacher"),
            cell("PV", "spec.source.persistentVolumeName"),
            cell("Node", "spec.nodeName"),
            cell("Attached", "status.attached", none="false"),
            AGE,
        ),
        namespaced=False,
        subresources=("status",),
    ),
    Resource(
        CSI_DRIVER,
        "csidrivers",
        RuleStrategy(
            name=_driver_name,
            defaults={
                "spec.attachRequired": True,
                "spec.podInfoOnMount": False,
                "spec.storageCapacity": False,
                "spec.fsGroupPolicy": "ReadWriteOnceWithFSType",
                "spec.requiresRepublish": False,
                "spec.seLinuxMount": False,
            },
            default=_default_driver,
            checks=(
                ("spec.fsGroupPolicy", one_of("ReadWriteOnceWithFSType", "File", "None")),
                ("spec.volumeLifecycleModes[]", one_of("Persistent", "Ephemeral")),
                ("spec.tokenRequests", unique("audience")),
                ("spec.tokenRequests[].expirationSeconds",
                 at_least(600, "may not specify a duration less than 10 minutes")),
            ),
            fixed={"spec.attachRequired": "", "spec.volumeLifecycleModes": ""},
        ),
        columns(
            NAME,
            cell("AttachRequired", "spec.attachRequired", type_="boolean"),
            cell("PodInfoOnMount", "spec.podInfoOnMount", type_="boolean"),
            cell("StorageCapacity", "spec.storageCapacity", none=UNSET),
            cell("TokenRequests", _audiences),
            cell("RequiresRepublish", "spec.requiresRepublish", none=UNSET),
            cell("Modes", lambda o: ",".join(at(o, "spec.volumeLifecycleModes") or ()), none=UNSET),
            AGE,
        ),
        namespaced=False,
    ),
    Resource(
        CSI_NODE,
        "csinodes",
        RuleStrategy(
            checks=(
                ("spec.drivers", unique("name")),
                ("spec.drivers[].name", needed(), named(_driver_name)),
                ("spec.drivers[].nodeID", needed()),
                ("spec.drivers[].allocatable.count", at_least(0)),
            ),
        ),
        columns(
            NAME,
            cell("Drivers", lambda o: len(at(o, "spec.drivers") or ()), type_="integer"),
            AGE,
        ),
        namespaced=False,
    ),
    Resource(
        CSI_STORAGE_CAPACITY,
        "csistoragecapacities",
        RuleStrategy(
            checks=(
                ("storageClassName", needed(), named(dns1123_subdomain_errors)),
                ("nodeTopology", label_selector),
                ("capacity", _capacity),
                ("maximumVolumeSize", _capacity),
            ),
            fixed={"storageClassName": "", "nodeTopology": ""},
        ),
        columns(
            NAME,
            cell("StorageClassName", "storageClassName"),
            cell("Capacity", "capacity", none=UNSET),
            AGE,
        ),
    ),
    Resource(
        VOLUME_ATTRIBUTES_CLASS,
        "volumeattributesclasses",
        RuleStrategy(
            checks=(
                ("driverName", needed(), named(_driver_name)),
                ("parameters", needed("must contain at least one name/value pair")),
            ),
            fixed={
                "driverName": "updates to driverName are forbidden.",
                "parameters": "updates to parameters are forbidden.",
            },
        ),
        columns(NAME, cell("DriverName", "driverName"), AGE),
        namespaced=False,
        short_names=("vac",),
    ),
)  # fmt: skip
