"""Values that a Pod may show to its own containers: fieldRef and resourceFieldRef.

Source: Kubernetes documentation, "Downward API".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubraft.api.object import Object, annotations_of, labels_of
from kubraft.api.quantity import Quantity, parse_quantity

_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['(.+)'\]")


class FieldError(Exception):
    """A reference names nothing; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the Pod runs: what its object does not say, or not yet."""

    pod_ip: str
    host_ip: str
    node_name: str
    allocatable: Mapping[str, Quantity]


def field_value(pod: Object, path: str, place: Place) -> str:
    """The text of a fieldRef.

    Raises:
        FieldError: there is no such field.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    if match := _SUBSCRIPT.fullmatch(path):
        maps = {"metadata.labels": labels_of(pod), "metadata.annotations": annotations_of(pod)}
        return maps[match[1]].get(match[2], "")
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(metadata.get(path.removeprefix("metadata."), ""))
        case "metadata.labels":
            return _lines(labels_of(pod))
        case "metadata.annotations":
            return _lines(annotations_of(pod))
        case "spec.nodeName":
            return str(spec.get("nodeName") or place.node_name)
        case "spec.serviceAccountName":
            return str(spec.get("serviceAccountName") or "")
        case "status.hostIP" | "status.hostIPs":
            return place.host_ip
        case "status.podIP" | "status.podIPs":
            return place.pod_ip
    raise FieldError(f"unsupported fieldPath: {path}")


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f'{key}="{_escape(value)}"' for key, value in sorted(values.items()))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_value(container: Mapping[str, Any], reference: Mapping[str, Any], place: Place) -> str:
    """The text of a resourceFieldRef, divided (rounding up) by its divisor.

    A limit that is not set is what the node has.

    Raises:
        FieldError: there is no such resource.
    """
    kind, _dot, name = reference["resource"].partition(".")
    if kind not in {"limits", "requests"} or not name:
        raise FieldError(f"unsupported container resource : {reference['resource']}")
    resources = container.get("resources") or {}
    text = (resources.get(kind) or {}).get(name)
    if text is None and kind == "requests":
        text = (resources.get("limits") or {}).get(name)
    if text is not None:
        amount = parse_quantity(text)
    elif kind == "limits":
        amount = place.allocatable.get(name, parse_quantity("0"))
    else:
        amount = parse_quantity("0")
    divisor = parse_quantity(reference.get("divisor") or "1")
    if not divisor:
        divisor = parse_quantity("1")
    return str(-(-amount.nano // divisor.nano))
