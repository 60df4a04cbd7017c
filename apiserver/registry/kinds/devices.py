"""Dynamic resource allocation: claims on devices, their classes, and the slices that offer them.

Source: Kubernetes API reference, resource.k8s.io/v1; texts of upstream's validation.
"""

from __future__ import annotations

from typing import Any

from apiserver.registry.causes import forbidden, invalid, required
from apiserver.registry.columns import AGE, NAME, cell, columns
from apiserver.registry.paths import Place, at, places
from apiserver.registry.resource import Resource
from apiserver.registry.rules import RuleStrategy, at_least, fill, named, needed, one_of, unique
from kubraft.api.errors import Cause
from kubraft.api.gvk import RESOURCE_SLICE, GroupVersionKind
from kubraft.api.names import dns1123_label_errors, dns1123_subdomain_errors, qualified_name_errors
from kubraft.api.object import Object

_GROUP = ("resource.k8s.io", "v1")
RESOURCE_CLAIM = GroupVersionKind(*_GROUP, "ResourceClaim")
RESOURCE_CLAIM_TEMPLATE = GroupVersionKind(*_GROUP, "ResourceClaimTemplate")
DEVICE_CLASS = GroupVersionKind(*_GROUP, "DeviceClass")
DEVICE_TAINT_RULE = GroupVersionKind(*_GROUP, "DeviceTaintRule")

_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_EFFECTS = ("NoExecute", "NoSchedule", "None")
_ONE_REQUEST = "exactly one of `exactly` or `firstAvailable` is required"


def _default_requests(prefix: str) -> Any:
    def default(obj: Object) -> None:
        for path in ("exactly", "firstAvailable[]"):
            base = f"{prefix}.devices.requests[].{path}"
            fill(obj, f"{base}.allocationMode", "ExactCount")
            for place in places(obj, f"{base}.allocationMode"):
                if place.value == "ExactCount":
                    place.holder.setdefault("count", 1)

    return default


def _request(place: Place) -> list[Cause]:
    given = [n for n in ("exactly", "firstAvailable") if place.value.get(n)]
    if not given:
        return [required(place.field, _ONE_REQUEST)]
    if len(given) > 1:
        return [invalid(place.field, place.value, f"{_ONE_REQUEST}, but multiple fields are set")]
    return []


def _request_checks(prefix: str) -> tuple[Any, ...]:
    base = f"{prefix}.devices.requests[]"
    return (
        (f"{prefix}.devices.requests", unique("name")),
        (base, _request),
        (f"{base}.name", needed(), named(dns1123_label_errors)),
        *(
            check
            for path in ("exactly", "firstAvailable[]")
            for check in (
                (f"{base}.{path}.deviceClassName", needed(), named(dns1123_subdomain_errors)),
                (f"{base}.{path}.allocationMode", one_of("All", "ExactCount")),
                (f"{base}.{path}.count", at_least(1, "must be greater than zero")),
            )
        ),
    )


def _places(place: Place) -> list[Cause]:
    given = [f"`{name}`" for name in _PLACES if (place.value or {}).get(name)]
    if not given:
        choices = ", ".join(f"`{name}`" for name in _PLACES)
        return [required("spec", f"exactly one of {choices} is required")]
    if len(given) > 1:
        shown = "{" + ", ".join(given) + "}"
        choices = ", ".join(f"`{name}`" for name in _PLACES)
        text = f"exactly one of {choices} is required, but multiple fields are set"
        return [invalid("spec", shown, text)]
    return []


def _reserved(new: Object, old: Object) -> list[Cause]:
    """A claim that Pods hold keeps its devices."""
    held = at(new, "status.reservedFor")
    if held and not at(new, "status.allocation"):
        return [forbidden("status.reservedFor", "may not be specified when `allocated` is not set")]
    del old
    return []


class ClaimStrategy(RuleStrategy):
    """The rules of ResourceClaims."""

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        return super().validate_status_update(new, old) + _reserved(new, old)


def _state(obj: Object) -> str:
    states = []
    if obj["metadata"].get("deletionTimestamp"):
        states.append("deleted")
    if at(obj, "status.allocation"):
        states.append("allocated")
        if at(obj, "status.reservedFor"):
            states.append("reserved")
    return ",".join(states) or "pending"


ROWS = (
    Resource(
        RESOURCE_CLAIM,
        "resourceclaims",
        ClaimStrategy(
            default=_default_requests("spec"),
            checks=_request_checks("spec"),
            fixed={"spec": ""},
            status={},
        ),
        columns(NAME, cell("State", _state), AGE),
        subresources=("status",),
    ),
    Resource(
        RESOURCE_CLAIM_TEMPLATE,
        "resourceclaimtemplates",
        RuleStrategy(
            default=_default_requests("spec.spec"),
            checks=_request_checks("spec.spec"),
            fixed={"spec": ""},
        ),
        columns(NAME, AGE),
    ),
    Resource(DEVICE_CLASS, "deviceclasses",
             RuleStrategy(generation=True), columns(NAME, AGE), namespaced=False),
    Resource(
        RESOURCE_SLICE,
        "resourceslices",
        RuleStrategy(
            checks=(
                ("spec", _places),
                ("spec.driver", needed(), named(dns1123_subdomain_errors)),
                ("spec.pool.name", needed()),
                ("spec.pool.resourceSliceCount", at_least(1, "must be greater than zero")),
                ("spec.pool.generation", at_least(0)),
                ("spec.nodeName", named(dns1123_subdomain_errors)),
                ("spec.devices", unique("name")),
                ("spec.devices[].name", needed(), named(dns1123_label_errors)),
            ),
            fixed={"spec.driver": "", "spec.nodeName": "", "spec.pool.name": ""},
            generation=True,
        ),
        columns(
            NAME,
            cell("Node", "spec.nodeName", none="<unset>"),
            cell("Driver", "spec.driver"),
            cell("Pool", "spec.pool.name"),
            AGE,
        ),
        namespaced=False,
        selectable_fields=("spec.nodeName", "spec.driver"),
    ),
    Resource(
        DEVICE_TAINT_RULE,
        "devicetaintrules",
        RuleStrategy(
            checks=(
                ("spec.taint.key", needed(), named(qualified_name_errors)),
                ("spec.taint.effect", needed(), one_of(*_EFFECTS)),
            ),
            generation=True,
            status={},
        ),
        columns(NAME, AGE),
        namespaced=False,
        subresources=("status",),
    ),
)  # fmt: skip
