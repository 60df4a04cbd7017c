"""ReplicationControllers, PodTemplates and Endpoints.

Source: Kubernetes API reference, core/v1; texts of upstream's validation.
"""

from __future__ import annotations

import re

from apiserver.registry.causes import all_invalid, invalid, required
from apiserver.registry.columns import AGE, NAME, cell, columns, images, number, selector
from apiserver.registry.metadata import annotation_causes, label_causes
from apiserver.registry.numbers import non_negative
from apiserver.registry.paths import Place, at
from apiserver.registry.pod_defaults import default_pod_spec
from apiserver.registry.pod_validation import validate_pod_spec
from apiserver.registry.resource import Resource
from apiserver.registry.rules import Check, RuleStrategy, ip, named, needed, one_of
from apiserver.registry.workloads import validate_template
from kubraft.api.errors import Cause
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.labels import NOTHING, LabelSelector, selector_from_labels
from kubraft.api.names import dns1123_label_errors, port_number_errors
from kubraft.api.object import Object

REPLICATION_CONTROLLER = GroupVersionKind("", "v1", "ReplicationController")
POD_TEMPLATE = GroupVersionKind("", "v1", "PodTemplate")
ENDPOINTS = GroupVersionKind("", "v1", "Endpoints")

_SHOWN_MAX = 3
PORT_CHECKS: tuple[Check, ...] = (
    ("name", named(dns1123_label_errors)),
    ("protocol", one_of("TCP", "UDP", "SCTP")),
)


def _default_controller(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    template = spec.get("template")
    if not isinstance(template, dict):
        return
    labels = template.setdefault("metadata", {}).get("labels")
    default_pod_spec(template.setdefault("spec", {}), is_pod=False)
    if labels and not spec.get("selector"):
        spec["selector"] = dict(labels)
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def _controller_causes(place: Place) -> list[Cause]:
    spec = place.value
    causes = non_negative("spec.replicas", spec) + non_negative("spec.minReadySeconds", spec)
    chosen, template = spec.get("selector"), spec.get("template")
    if not chosen:
        causes.append(required("spec.selector"))
    if template is None:
        return [*causes, required("spec.template")]
    wanted = _selector(chosen) if chosen else None
    return causes + validate_template(template, wanted, "ReplicationController")


def _selector(labels: dict[str, str]) -> LabelSelector:
    """What no label can be selects nothing: upstream says no more of it."""
    try:
        return selector_from_labels(labels)
    except ValueError:
        return NOTHING


def _default_template(obj: Object) -> None:
    if isinstance(obj.get("template"), dict):
        default_pod_spec(obj["template"].setdefault("spec", {}), is_pod=False)


def _template_causes(place: Place) -> list[Cause]:
    template = place.value or {}
    metadata = template.get("metadata") or {}
    causes = label_causes("template.labels", metadata.get("labels") or {})
    causes += annotation_causes("template.annotations", metadata.get("annotations") or {})
    return causes + validate_pod_spec(template.get("spec") or {}, "template.spec")


def _subset(place: Place) -> list[Cause]:
    subset = place.value
    if not subset.get("addresses") and not subset.get("notReadyAddresses"):
        return [required(place.field, "must specify `addresses` or `notReadyAddresses`")]
    causes: list[Cause] = []
    ports = subset.get("ports") or ()
    for index, port in enumerate(ports):
        field = f"{place.field}.ports[{index}]"
        if len(ports) > 1 and not port.get("name"):
            causes.append(required(f"{field}.name"))
        number_ = port.get("port", 0)
        causes += all_invalid(f"{field}.port", number_, port_number_errors(number_))
    return causes


# Pods of the embedded runtime have loopback addresses, from 127.64.0.0 on: see ADR 0070.
_MACHINES_OWN = re.compile(r"127\.(?:[0-9]|[1-5][0-9]|6[0-3])\.")
_LOOPBACK = "may not be in the loopback range (127.0.0.0/8, ::1/128)"


def _special(place: Place) -> list[Cause]:
    """An endpoint's address must not be one that means the machine itself, or nobody."""
    address = str(place.value or "")
    for text, holds in (
        ("may not be unspecified (0.0.0.0 or ::)", not address.strip("0.:")),
        (_LOOPBACK, _MACHINES_OWN.match(address) or address == "::1"),
        ("may not be in the link-local range (169.254.0.0/16, fe80::/10)",
         address.startswith("169.254.") or address.lower().startswith("fe80:")),
    ):  # fmt: skip
        if holds:
            return [invalid(place.field, address, text)]
    return []


class EndpointsStrategy(RuleStrategy):
    """Those of the API servers may be on the machine's own addresses: see ADR 0059."""

    def validate(self, obj: Object) -> list[Cause]:
        causes = super().validate(obj)
        metadata = obj["metadata"]
        if (metadata.get("namespace"), metadata.get("name")) == ("default", "kubernetes"):
            causes = [cause for cause in causes if not cause.message.endswith(_LOOPBACK)]
        return causes


def _endpoints(obj: Object) -> str:
    """The first few addresses with their ports, as kubectl shows them."""
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        addresses = [a.get("ip", "") for a in subset.get("addresses") or ()]
        ports = [p.get("port") for p in subset.get("ports") or ()]
        if not ports:
            found += addresses
        found += [_joined(a, port) for port in ports for a in addresses]
    shown = ",".join(found[:_SHOWN_MAX])
    more = len(found) - _SHOWN_MAX
    return (f"{shown} + {more} more..." if more > 0 else shown) or "<none>"


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _labels(obj: Object) -> str:
    return str(selector_from_labels(at(obj, "template.metadata.labels"))) or "<none>"


_CONTAINERS, _IMAGES = images("template.spec")

ROWS = (
    Resource(
        REPLICATION_CONTROLLER,
        "replicationcontrollers",
        RuleStrategy(
            default=_default_controller,
            checks=(("spec", _controller_causes),),
            generation=True,
            status={"replicas": 0},
        ),
        columns(
            NAME,
            number("Desired", "spec.replicas"),
            number("Current", "status.replicas"),
            number("Ready", "status.readyReplicas"),
            AGE,
            *images(),
            selector(),
        ),
        short_names=("rc",),
        categories=("all",),
        subresources=("status", "scale"),
        selectable_fields=("status.replicas",),
        folder="controllers",
    ),
    Resource(
        POD_TEMPLATE,
        "podtemplates",
        RuleStrategy(
            default=_default_template,
            checks=(("template", _template_causes),),
            generation=True,
            create_on_update=True,
        ),
        columns(
            NAME,
            _CONTAINERS.shown(),
            _IMAGES.shown(),
            cell("Pod Labels", _labels),
        ),
    ),
    Resource(
        ENDPOINTS,
        "endpoints",
        EndpointsStrategy(
            defaults={"subsets[].ports[].protocol": "TCP"},
            checks=(
                ("subsets[]", _subset),
                ("subsets[].addresses[].ip", needed(), ip, _special),
                ("subsets[].notReadyAddresses[].ip", needed(), ip, _special),
                ("subsets[].addresses[].hostname", named(dns1123_label_errors)),
                *((f"subsets[].ports[].{path}", *rules) for path, *rules in PORT_CHECKS),
            ),
            create_on_update=True,
        ),
        columns(NAME, cell("Endpoints", _endpoints), AGE),
        short_names=("ep",),
        folder="services/endpoints",
    ),
)
