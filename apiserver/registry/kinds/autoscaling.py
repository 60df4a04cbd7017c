"""HorizontalPodAutoscalers: version 2, and version 1 of the same objects.

What version 1 cannot say is kept in its annotations, under upstream's names.

Source: Kubernetes API reference, autoscaling/v1 and v2; texts of upstream's validation.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from apiserver.registry.causes import all_invalid, forbidden, invalid, required, unsupported
from apiserver.registry.columns import AGE, NAME, cell, columns, number
from apiserver.registry.conversion import Conversion
from apiserver.registry.paths import Place, at
from apiserver.registry.resource import Resource
from apiserver.registry.rules import Check, RuleStrategy, at_least, fill, one_of
from kubraft.api.errors import Cause
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.names import path_segment_errors
from kubraft.api.object import Object

HPA = GroupVersionKind("autoscaling", "v2", "HorizontalPodAutoscaler")
HPA_V1 = GroupVersionKind("autoscaling", "v1", "HorizontalPodAutoscaler")

CPU_PERCENT: Final = 80
_PREFIX: Final = "autoscaling.alpha.kubernetes.io/"
_SOURCES: Final = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_TARGETS: Final = ("AverageValue", "Utilization", "Value")
_SHOWN_MAX: Final = 2
_UP: Final = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DOWN: Final = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


def _cpu(percent: int) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("metrics"):
        spec["metrics"] = [_cpu(CPU_PERCENT)]
    if spec.get("behavior"):
        for way, rules in (("scaleUp", _UP), ("scaleDown", _DOWN)):
            fill(obj, f"spec.behavior.{way}", {})
            for name, value in rules.items():
                fill(obj, f"spec.behavior.{way}.{name}", value)


def _bounds(place: Place) -> list[Cause]:
    spec = place.value or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if most < 1:
        return [invalid("spec.maxReplicas", most, "must be greater than 0")]
    if least is not None and most < least:
        text = "must be greater than or equal to `minReplicas`"
        return [invalid("spec.maxReplicas", most, text)]
    return []


def _reference(place: Place) -> list[Cause]:
    causes: list[Cause] = []
    for name in ("kind", "name"):
        field, value = f"{place.field}.{name}", (place.value or {}).get(name)
        if value:
            causes += all_invalid(field, value, path_segment_errors(value))
        else:
            causes.append(required(field))
    return causes


def _metric(place: Place) -> list[Cause]:
    metric, field = place.value, place.field
    kind = metric.get("type")
    if not kind:
        return [required(f"{field}.type", "must specify a metric source type")]
    if kind not in _SOURCES:
        return [unsupported(f"{field}.type", kind, _SOURCES)]
    own, causes = _SOURCES[kind], []
    if metric.get(own) is None:
        text = "must populate information for the given metric source"
        causes.append(required(f"{field}.{own}", text))
    else:
        causes += _source(metric[own], f"{field}.{own}", own)
    causes += [
        forbidden(f"{field}.{name}", "must populate the given metric source only")
        for name in _SOURCES.values()
        if name != own and metric.get(name) is not None
    ]
    return causes


def _source(source: Object, field: str, kind: str) -> list[Cause]:
    causes: list[Cause] = []
    of_resource = kind in ("resource", "containerResource")
    if of_resource and not source.get("name"):
        causes.append(required(f"{field}.name", "must specify a resource name"))
    if kind == "containerResource" and not source.get("container"):
        causes.append(required(f"{field}.container", "must specify a container"))
    if not of_resource and not at(source, "metric.name"):
        causes.append(required(f"{field}.metric.name", "must specify a metric name"))
    target, field = source.get("target") or {}, f"{field}.target"
    if not target.get("type"):
        causes.append(required(f"{field}.type", "must specify a metric target type"))
    elif target["type"] not in _TARGETS:
        causes.append(unsupported(f"{field}.type", target["type"], _TARGETS))
    percent, average = target.get("averageUtilization"), target.get("averageValue")
    if percent is not None and percent < 1:
        text = "must be greater than 0"
        causes.append(invalid(f"{field}.averageUtilization", percent, text))
    if of_resource and percent is None and average is None:
        text = "must set either a target raw value or a target utilization"
        causes.append(required(f"{field}.averageUtilization", text))
    if percent is not None and average is not None:
        text = "may not set both a target raw value and a target utilization"
        causes.append(forbidden(f"{field}.averageValue", text))
    return causes


def to_v2(obj: Object) -> Object:
    """A version 1 object as version 2."""
    annotations = dict(obj["metadata"].get("annotations") or {})
    kept = {name: _taken(annotations, name) for name in
            ("metrics", "behavior", "current-metrics", "conditions")}  # fmt: skip
    metadata = {k: v for k, v in obj["metadata"].items() if k != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = list(kept["metrics"] or ())
    if percent is not None:
        metrics.insert(0, _cpu(percent))
    spec["metrics"] = metrics or [_cpu(CPU_PERCENT)]
    current = list(kept["current-metrics"] or ())
    used = status.pop("currentCPUUtilizationPercentage", None)
    if used is not None:
        shown = {"name": "cpu", "current": {"averageUtilization": used}}
        current.insert(0, {"type": "Resource", "resource": shown})
    for holder, name, value in (
        (spec, "behavior", kept["behavior"]),
        (status, "currentMetrics", current),
        (status, "conditions", kept["conditions"]),
    ):
        if value:
            holder[name] = value
    made = {**obj, "apiVersion": HPA.api_version, "metadata": metadata, "spec": spec}
    return {**made, "status": status} if status or "status" in obj else made


def to_v1(obj: Object) -> Object:
    """A version 2 object as version 1."""
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metrics = list(spec.pop("metrics", None) or ())
    current = list(status.pop("currentMetrics", None) or ())
    percent = _take_cpu(metrics, "target")
    used = _take_cpu(current, "current")
    annotations = dict(obj["metadata"].get("annotations") or {})
    for name, value in (
        ("metrics", metrics),
        ("behavior", spec.pop("behavior", None)),
        ("current-metrics", current),
        ("conditions", status.pop("conditions", None)),
    ):
        if value:
            annotations[_PREFIX + name] = orjson.dumps(value).decode()
    if percent is not None:
        spec["targetCPUUtilizationPercentage"] = percent
    if used is not None:
        status["currentCPUUtilizationPercentage"] = used
    status.setdefault("currentReplicas", 0)
    status.setdefault("desiredReplicas", 0)
    metadata = dict(obj["metadata"])
    if annotations:
        metadata["annotations"] = annotations
    made = {**obj, "apiVersion": HPA_V1.api_version, "metadata": metadata, "spec": spec}
    return {**made, "status": status}


def _take_cpu(metrics: list[Object], side: str) -> int | None:
    """The share of CPU among metrics, which is taken out of them."""
    for metric in metrics:
        resource = metric.get("resource") or {}
        percent = at(resource, f"{side}.averageUtilization")
        if resource.get("name") == "cpu" and isinstance(percent, int):
            metrics.remove(metric)
            return percent
    return None


def _taken(annotations: dict[str, str], name: str) -> Any:
    text = annotations.pop(_PREFIX + name, None)
    try:
        return orjson.loads(text) if text else None
    except ValueError:  # as upstream: what cannot be read is dropped
        return None


def _reference_text(obj: Object) -> str:
    target = at(obj, "spec.scaleTargetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def _targets(obj: Object) -> str:
    metrics = at(obj, "spec.metrics") or ()
    current = at(obj, "status.currentMetrics") or ()
    shown = [_target(m, current[i] if i < len(current) else {}) for i, m in enumerate(metrics)]
    more = len(shown) - _SHOWN_MAX
    text = ", ".join(shown[:_SHOWN_MAX])
    return (f"{text} + {more} more..." if more > 0 else text) or "<none>"


def _target(metric: Object, seen: Object) -> str:
    kind = _SOURCES.get(metric.get("type", ""), "")
    source, now = metric.get(kind) or {}, at(seen, f"{kind}.current") or {}
    target = source.get("target") or {}
    name = f"{source['name']}: " if "name" in source else ""
    if target.get("averageUtilization") is not None:
        used = now.get("averageUtilization")
        shown = "<unknown>" if used is None else f"{used}%"
        return f"{name}{shown}/{target['averageUtilization']}%"
    if target.get("averageValue") is not None:
        average = "" if name or kind == "pods" else " (avg)"
        return f"{name}{now.get('averageValue', '<unknown>')}/{target['averageValue']}{average}"
    return f"{name}{now.get('value', '<unknown>')}/{target.get('value', '<auto>')}"


def _targets_v1(obj: Object) -> str:
    return _targets(to_v2(obj))


_CHECKS: tuple[Check, ...] = (
    ("spec.minReplicas", at_least(1, "must be greater than or equal to 1")),
    ("spec", _bounds),
    ("spec.scaleTargetRef", _reference),
)
_STATUS_CHECKS: tuple[Check, ...] = (
    ("status.currentReplicas", at_least(0)),
    ("status.desiredReplicas", at_least(0)),
)


def _columns(targets: Any) -> Any:
    return columns(
        NAME,
        cell("Reference", _reference_text),
        cell("Targets", targets),
        cell("MinPods", lambda o: str(at(o, "spec.minReplicas") or "<unset>")),
        number("MaxPods", "spec.maxReplicas"),
        number("Replicas", "status.currentReplicas"),
        AGE,
    )


ROWS = (
    Resource(
        HPA,
        "horizontalpodautoscalers",
        RuleStrategy(
            defaults={"spec.minReplicas": 1},
            default=_default,
            checks=(
                *_CHECKS,
                ("spec.metrics[]", _metric),
                ("spec.behavior.scaleUp.selectPolicy", one_of("Disabled", "Max", "Min")),
                ("spec.behavior.scaleDown.selectPolicy", one_of("Disabled", "Max", "Min")),
            ),
            generation=True,
            status={"desiredReplicas": 0},
            status_checks=_STATUS_CHECKS,
        ),
        _columns(_targets),
        short_names=("hpa",),
        categories=("all",),
        subresources=("status",),
    ),
    Resource(
        HPA_V1,
        "horizontalpodautoscalers",
        RuleStrategy(
            defaults={"spec.minReplicas": 1},
            checks=(
                *_CHECKS,
                (
                    "spec.targetCPUUtilizationPercentage",
                    at_least(1, "must be greater than 0"),
                ),
            ),
            generation=True,
            status={"currentReplicas": 0, "desiredReplicas": 0},
            status_checks=_STATUS_CHECKS,
        ),
        _columns(_targets_v1),
        short_names=("hpa",),
        categories=("all",),
        subresources=("status",),
        conversion=Conversion(to_v2, to_v1),
    ),
)
