"""Deployments and ReplicaSets.

Source: Kubernetes API reference, apps/v1; texts of upstream's validation.
"""

from __future__ import annotations

from typing import Any

from apiserver.registry import numbers
from apiserver.registry.causes import forbidden, immutable, invalid, required, unsupported
from apiserver.registry.metadata import annotation_causes, label_causes
from apiserver.registry.pod_defaults import default_pod_spec
from apiserver.registry.pod_validation import validate_pod_spec
from apiserver.registry.strategy import Strategy
from kubraft.api.errors import Cause
from kubraft.api.labels import LabelSelector, selector_from_object
from kubraft.api.object import Object

Json = dict[str, Any]

_STRATEGIES = ("Recreate", "RollingUpdate")
_COUNTS = ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")


class WorkloadStrategy(Strategy):
    """What has a number of replicas, a selector and a Pod template."""

    has_generation = True
    has_status = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        template = spec.get("template")
        if isinstance(template, dict):
            template.setdefault("metadata", {})
            default_pod_spec(template.setdefault("spec", {}), is_pod=False)

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj["spec"]
        causes: list[Cause] = []
        for name in _COUNTS:
            causes += numbers.non_negative(f"spec.{name}", spec)
        selector, selector_causes = self._selector(spec, obj["kind"])
        causes += selector_causes
        template = spec.get("template")
        if template is None:
            return [*causes, required("spec.template")]
        return causes + validate_template(template, selector, obj["kind"])

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        causes = self.validate(new)
        if new["spec"].get("selector") != old["spec"].get("selector"):
            causes.append(immutable("spec.selector", new["spec"].get("selector")))
        return causes

    def _selector(self, spec: Json, kind: str) -> tuple[LabelSelector | None, list[Cause]]:
        if spec.get("selector") is None:
            return None, [required("spec.selector")]
        try:
            selector = selector_from_object(spec["selector"])
        except ValueError as error:
            return None, [invalid("spec.selector", spec["selector"], str(error))]
        if selector.is_everything():
            rule = f"empty selector is invalid for {kind.lower()}"
            return None, [invalid("spec.selector", spec["selector"], rule)]
        return selector, []


class ReplicaSetStrategy(WorkloadStrategy):
    """The rules of ReplicaSets."""

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {"replicas": 0}


class DeploymentStrategy(WorkloadStrategy):
    """The rules of Deployments."""

    def default(self, obj: Object) -> None:
        super().default(obj)
        spec = obj["spec"]
        strategy = spec.setdefault("strategy", {})
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {}

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj["spec"]
        causes = super().validate(obj) + _validate_rollout(spec["strategy"])
        deadline, ready = spec["progressDeadlineSeconds"], spec.get("minReadySeconds", 0)
        if 0 <= deadline <= ready:
            rule = "must be greater than minReadySeconds"
            causes.append(invalid("spec.progressDeadlineSeconds", deadline, rule))
        return causes


def validate_template(template: Json, selector: LabelSelector | None, kind: str) -> list[Cause]:
    """What is wrong with the template of Pods that run for ever."""
    labels = (template.get("metadata") or {}).get("labels") or {}
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    causes = label_causes("spec.template.labels", labels)
    causes += annotation_causes("spec.template.annotations", annotations)
    if selector is not None and not selector.matches(labels):
        rule = "`selector` does not match template `labels`"
        causes.append(invalid("spec.template.metadata.labels", labels, rule))
    spec = template["spec"]
    causes += validate_pod_spec(spec, "spec.template.spec")
    if spec.get("restartPolicy") in ("OnFailure", "Never"):
        field = "spec.template.spec.restartPolicy"
        causes.append(unsupported(field, spec["restartPolicy"], ["Always"]))
    if spec.get("activeDeadlineSeconds") is not None:
        field = "spec.template.spec.activeDeadlineSeconds"
        causes.append(forbidden(field, f"activeDeadlineSeconds in {kind} is not Supported"))
    return causes


def _validate_rollout(strategy: Json) -> list[Cause]:
    field, rolling = "spec.strategy.rollingUpdate", strategy.get("rollingUpdate")
    if strategy["type"] not in _STRATEGIES:
        return [unsupported("spec.strategy.type", strategy["type"], _STRATEGIES)]
    if strategy["type"] == "Recreate":
        rule = "may not be specified when strategy `type` is 'Recreate'"
        return [forbidden(field, rule)] if rolling is not None else []
    assert rolling is not None  # defaulted
    unavailable, surge = rolling["maxUnavailable"], rolling["maxSurge"]
    causes = numbers.int_or_percent(f"{field}.maxUnavailable", unavailable)
    causes += numbers.int_or_percent(f"{field}.maxSurge", surge)
    if numbers.is_zero(unavailable) and numbers.is_zero(surge):
        rule = "may not be 0 when `maxSurge` is 0"
        causes.append(invalid(f"{field}.maxUnavailable", unavailable, rule))
    if isinstance(unavailable, str) and not causes and int(unavailable[:-1]) > 100:
        causes.append(
            invalid(f"{field}.maxUnavailable", unavailable, "must not be greater than 100%")
        )
    return causes
