"""LimitRanger: defaults and bounds of resources, by the LimitRanges of the namespace.

Source: upstream's plugin of that name (rules, texts, the annotation).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionRequest
from apiserver.reader import Reader
from kubraft.api.gvk import LIMIT_RANGE
from kubraft.api.object import Object
from kubraft.api.pods import Resources, container_resources, pod_limits, pod_requests
from kubraft.api.quantity import Quantity, parse_quantity

ANNOTATION: Final = "kubernetes.io/limit-ranger"


class LimitRanger(Plugin):
    """Sets what containers of new Pods leave open, and refuses what is out of range."""

    name = "LimitRanger"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, request: AdmissionRequest) -> bool:
        return request.creates_pod or request.resizes_pod

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.obj or {}
        if request.resizes_pod or not isinstance(pod.get("spec"), dict):
            return  # validation says what is wrong
        for limit_range in self._reader.list(LIMIT_RANGE, request.namespace):
            set_defaults(pod, limit_range)

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.obj or {}
        for limit_range in self._reader.list(LIMIT_RANGE, request.namespace):
            violations = list(violations_of(pod, limit_range))
            if violations:
                shown = ", ".join(violations)
                raise request.forbidden(f"[{shown}]" if len(violations) > 1 else shown)


def set_defaults(pod: Object, limit_range: Object) -> None:
    """Fill in the requests and limits that containers of `pod` leave open, and say so in it."""
    items = [item for item in _items(limit_range) if item.get("type") == "Container"]
    if not items:
        return
    defaults = {
        "requests": _merged(_default_requests(item) for item in items),
        "limits": _merged(_default_limits(item) for item in items),
    }
    said = []
    for field, prefix in (("containers", ""), ("initContainers", "init ")):
        for container in pod["spec"].get(field) or ():
            for kind, amounts in defaults.items():
                added = _fill(container, kind, amounts)
                if added:
                    what = f"{', '.join(added)} {kind.removesuffix('s')}"
                    said.append(f"{what} for {prefix}container {container.get('name', '')}")
    if said:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(said)


def _fill(container: dict[str, Any], kind: str, amounts: dict[str, str]) -> list[str]:
    """Add what is missing of `amounts` to the container; the names that were added."""
    resources = container.get("resources") or {}
    present = resources.get(kind) or {}
    missing = sorted(name for name in amounts if name not in present)
    if kind == "requests":
        # A request that is not given is as high as a given limit, never the default.
        given = resources.get("limits") or {}
        missing = [name for name in missing if name not in given]
    if missing:
        added = {name: amounts[name] for name in missing}
        container["resources"] = {**resources, kind: {**present, **added}}
    return missing


def _default_limits(item: dict[str, Any]) -> dict[str, str]:
    return {**(item.get("max") or {}), **(item.get("default") or {})}


def _default_requests(item: dict[str, Any]) -> dict[str, str]:
    return {
        **(item.get("min") or {}),
        **_default_limits(item),
        **(item.get("defaultRequest") or {}),
    }


def _merged(amounts: Iterable[dict[str, str]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for one in amounts:
        merged = {**one, **merged}
    return merged


def violations_of(pod: Object, limit_range: Object) -> Iterator[str]:
    """What of `pod` is out of the bounds of `limit_range`, in upstream's words."""
    spec = pod["spec"]
    for item in _items(limit_range):
        if item.get("type") == "Container":
            for field in ("containers", "initContainers"):
                for container in spec.get(field) or ():
                    requests = container_resources(container, "requests")
                    limits = container_resources(container, "limits")
                    # Defaulting by the schema comes later or has come: a limit is a request too.
                    yield from _out_of_bounds(item, {**limits, **requests}, limits)
        elif item.get("type") == "Pod":
            yield from _out_of_bounds(item, pod_requests(pod), pod_limits(pod))


def _out_of_bounds(item: dict[str, Any], requests: Resources, limits: Resources) -> Iterator[str]:
    scope = item["type"]
    for name, amount in sorted((item.get("min") or {}).items()):
        yield from _below(name, scope, parse_quantity(amount), requests, limits)
    for name, amount in sorted((item.get("max") or {}).items()):
        yield from _above(name, scope, parse_quantity(amount), requests, limits)
    for name, amount in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        yield from _ratio_above(name, scope, parse_quantity(amount), requests, limits)


def _below(
    name: str, scope: str, least: Quantity, requests: Resources, limits: Resources
) -> Iterator[str]:
    text = f"minimum {name} usage per {scope} is {least}"
    if name not in requests:
        yield f"{text}.  No request is specified"
    elif requests[name] < least:
        yield f"{text}, but request is {requests[name]}"
    elif name in limits and limits[name] < least:
        yield f"{text}, but limit is {limits[name]}"


def _above(
    name: str, scope: str, most: Quantity, requests: Resources, limits: Resources
) -> Iterator[str]:
    text = f"maximum {name} usage per {scope} is {most}"
    if name not in limits:
        yield f"{text}.  No limit is specified"
    elif limits[name] > most:
        yield f"{text}, but limit is {limits[name]}"
    elif name in requests and requests[name] > most:
        yield f"{text}, but request is {requests[name]}"


def _ratio_above(
    name: str, scope: str, most: Quantity, requests: Resources, limits: Resources
) -> Iterator[str]:
    text = f"{name} max limit to request ratio per {scope} is {most}, but"
    if not requests.get(name):
        yield f"{text} no request is specified or request is 0"
    elif not limits.get(name):
        yield f"{text} no limit is specified or limit is 0"
    elif limits[name].nano * 1_000_000_000 > most.nano * requests[name].nano:
        yield f"{text} provided ratio is {limits[name].nano / requests[name].nano:.6f}"


def _items(limit_range: Object) -> list[dict[str, Any]]:
    return list((limit_range.get("spec") or {}).get("limits") or ())
