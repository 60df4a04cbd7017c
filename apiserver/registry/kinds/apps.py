"""StatefulSets, DaemonSets and ControllerRevisions.

Source: Kubernetes API reference, apps/v1; texts of upstream's validation.
"""

from __future__ import annotations

from typing import Any

from apiserver.registry import numbers
from apiserver.registry.causes import forbidden, invalid
from apiserver.registry.columns import AGE, NAME, cell, columns, images, number, selector
from apiserver.registry.kinds.claims import default_claim, validate_claim_spec
from apiserver.registry.paths import at
from apiserver.registry.resource import Resource
from apiserver.registry.rules import RuleStrategy, at_least, check, fill, needed
from apiserver.registry.workloads import WorkloadStrategy
from kubraft.api.errors import Cause
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object

STATEFUL_SET = GroupVersionKind("apps", "v1", "StatefulSet")
DAEMON_SET = GroupVersionKind("apps", "v1", "DaemonSet")
CONTROLLER_REVISION = GroupVersionKind("apps", "v1", "ControllerRevision")

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_STATEFUL_RULE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)


class StatefulSetStrategy(WorkloadStrategy):
    """The rules of StatefulSets."""

    def default(self, obj: Object) -> None:
        super().default(obj)
        for path, value in (
            ("spec.podManagementPolicy", "OrderedReady"),
            ("spec.updateStrategy", {}),
            ("spec.updateStrategy.type", "RollingUpdate"),
            ("spec.revisionHistoryLimit", 10),
            ("spec.persistentVolumeClaimRetentionPolicy", {}),
            ("spec.persistentVolumeClaimRetentionPolicy.whenDeleted", "Retain"),
            ("spec.persistentVolumeClaimRetentionPolicy.whenScaled", "Retain"),
        ):
            fill(obj, path, value)
        if at(obj, "spec.updateStrategy.type") == "RollingUpdate":
            fill(obj, "spec.updateStrategy.rollingUpdate", {})
            fill(obj, "spec.updateStrategy.rollingUpdate.partition", 0)
            fill(obj, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1)
        for claim in obj["spec"].get("volumeClaimTemplates") or ():
            claim["kind"], claim["apiVersion"] = "PersistentVolumeClaim", "v1"
            default_claim(claim)
            claim["status"] = {"phase": "Pending"}

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {"replicas": 0, "availableReplicas": 0}

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj["spec"]
        causes = super().validate(_with_claims(obj)) + _stateful_update(spec)
        policy = spec.get("podManagementPolicy", "")
        if policy not in ("OrderedReady", "Parallel"):
            rule = "must be 'OrderedReady' or 'Parallel'"
            causes.append(invalid("spec.podManagementPolicy", policy, rule))
        causes += check(obj, [("spec.ordinals.start", at_least(0))])
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            field = f"spec.volumeClaimTemplates[{index}]"
            causes += validate_claim_spec(claim.get("spec") or {}, f"{field}.spec")
        return causes

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        causes = self.validate(new)
        if {k: v for k, v in new["spec"].items() if k not in _MUTABLE} != {
            k: v for k, v in old["spec"].items() if k not in _MUTABLE
        }:
            causes.append(forbidden("spec", _STATEFUL_RULE))
        return causes


class DaemonSetStrategy(WorkloadStrategy):
    """The rules of DaemonSets, which have no number of replicas."""

    def default(self, obj: Object) -> None:
        super().default(obj)
        obj["spec"].pop("replicas", None)
        fill(obj, "spec.updateStrategy", {})
        fill(obj, "spec.updateStrategy.type", "RollingUpdate")
        if at(obj, "spec.updateStrategy.type") == "RollingUpdate":
            fill(obj, "spec.updateStrategy.rollingUpdate", {})
            fill(obj, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1)
            fill(obj, "spec.updateStrategy.rollingUpdate.maxSurge", 0)
        fill(obj, "spec.revisionHistoryLimit", 10)

    def prepare_for_create(self, obj: Object) -> None:
        names = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled")
        obj["status"] = dict.fromkeys((*names, "numberReady"), 0)
        _count_templates(obj, 1)

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        before = (old["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "1")
        changed = at(new, "spec.template") != at(old, "spec.template")
        _count_templates(new, (int(before) if before.isdigit() else 1) + changed)

    def validate(self, obj: Object) -> list[Cause]:
        return super().validate(obj) + _daemon_update(obj["spec"])


def _count_templates(obj: Object, count: int) -> None:
    annotations = obj["metadata"].get("annotations") or {}
    obj["metadata"]["annotations"] = {**annotations, TEMPLATE_GENERATION: str(count)}


def _with_claims(obj: Object) -> Object:
    """The object as its Pods will be: with a volume for each claim."""
    spec = obj["spec"]
    template = spec.get("template")
    claims = spec.get("volumeClaimTemplates")
    if not claims or not isinstance(template, dict):
        return obj
    names = {at(claim, "metadata.name") or "" for claim in claims}
    pod = template.get("spec") or {}
    kept = [v for v in pod.get("volumes") or () if v.get("name") not in names]
    volumes = [{"name": n, "persistentVolumeClaim": {"claimName": n}} for n in sorted(names)]
    return {
        **obj,
        "spec": {**spec, "template": {**template, "spec": {**pod, "volumes": kept + volumes}}},
    }


def _stateful_update(spec: Object) -> list[Cause]:
    strategy = spec.get("updateStrategy") or {}
    rolling, field = strategy.get("rollingUpdate"), "spec.updateStrategy.rollingUpdate"
    match strategy.get("type"):
        case "OnDelete":
            if rolling is None:
                return []
            return [invalid(field, rolling, "only allowed for updateStrategy 'RollingUpdate'")]
        case "RollingUpdate":
            rolling = rolling or {}
            causes = numbers.non_negative(f"{field}.partition", rolling)
            return causes + _share(f"{field}.maxUnavailable", rolling.get("maxUnavailable", 1))
    return [invalid("spec.updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'")]


def _share(field: str, value: Any) -> list[Cause]:
    causes = numbers.int_or_percent(field, value)
    if not causes and numbers.is_zero(value):
        causes.append(invalid(field, value, "cannot be 0"))
    return causes


def _daemon_update(spec: Object) -> list[Cause]:
    strategy = spec.get("updateStrategy") or {}
    field = "spec.updateStrategy.rollingUpdate"
    if strategy.get("type") == "OnDelete":
        return []
    if strategy.get("type") != "RollingUpdate":
        return [
            invalid("spec.updateStrategy.type", strategy.get("type", ""),
                    "must be one of OnDelete, RollingUpdate")
        ]  # fmt: skip
    rolling = strategy.get("rollingUpdate") or {}
    unavailable, surge = rolling.get("maxUnavailable", 1), rolling.get("maxSurge", 0)
    causes = numbers.int_or_percent(f"{field}.maxUnavailable", unavailable)
    causes += numbers.int_or_percent(f"{field}.maxSurge", surge)
    if causes:
        return causes
    if numbers.is_zero(unavailable) and numbers.is_zero(surge):
        rule = "cannot be 0 when maxSurge is 0"
        return [invalid(f"{field}.maxUnavailable", unavailable, rule)]
    if not numbers.is_zero(unavailable) and not numbers.is_zero(surge):
        rule = "may not be set when maxUnavailable is non-zero"
        return [invalid(f"{field}.maxSurge", surge, rule)]
    return []


def _controller(obj: Object) -> str:
    """Who controls an object, as "kind.group/name"."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            group = owner.get("apiVersion", "").rpartition("/")[0]
            kind = owner.get("kind", "").lower()
            return f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"
    return "<none>"


def _node_selector(obj: Object) -> str:
    wanted = at(obj, "spec.template.spec.nodeSelector") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(wanted.items())) or "<none>"


def _ready(obj: Object) -> str:
    return f"{at(obj, 'status.readyReplicas') or 0}/{at(obj, 'spec.replicas')}"


ROWS = (
    Resource(
        STATEFUL_SET,
        "statefulsets",
        StatefulSetStrategy(),
        columns(
            NAME,
            cell("Ready", _ready),
            AGE,
            *images(),
        ),
        short_names=("sts",),
        categories=("all",),
        subresources=("status", "scale"),
    ),
    Resource(
        DAEMON_SET,
        "daemonsets",
        DaemonSetStrategy(),
        columns(
            NAME,
            number("Desired", "status.desiredNumberScheduled"),
            number("Current", "status.currentNumberScheduled"),
            number("Ready", "status.numberReady"),
            number("Up-to-date", "status.updatedNumberScheduled"),
            number("Available", "status.numberAvailable"),
            cell("Node Selector", _node_selector),
            AGE,
            *images(),
            selector(),
        ),
        short_names=("ds",),
        categories=("all",),
        subresources=("status",),
    ),
    Resource(
        CONTROLLER_REVISION,
        "controllerrevisions",
        RuleStrategy(
            checks=(
                ("data", needed("data is mandatory")),
                ("revision", at_least(0)),
            ),
            fixed={"data": ""},
        ),
        columns(NAME, cell("Controller", _controller), number("Revision", "revision"), AGE),
    ),
)  # fmt: skip
