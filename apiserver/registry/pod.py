"""Pods: what may change, how they are deleted, and what is computed at their creation."""

from __future__ import annotations

import copy
from typing import Any

from apiserver.registry import pod_parts
from apiserver.registry.causes import forbidden
from apiserver.registry.gated_pod import (
    gated_condition,
    put_back_placement,
    validate_gates,
    validate_narrowed,
)
from apiserver.registry.pod_defaults import default_pod_spec
from apiserver.registry.pod_validation import validate_pod_spec
from apiserver.registry.strategy import Deletion, Strategy
from kubraft.api.errors import Cause
from kubraft.api.object import Object
from kubraft.api.pods import is_terminated, qos_class

_SPEC_RULE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
    "(only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
    "was previously negative)"
)


class PodStrategy(Strategy):
    """The rules of Pods."""

    has_generation = True
    has_status = True
    deletion = Deletion.GRACEFUL
    parts = (pod_parts.EPHEMERAL, pod_parts.RESIZE)

    def default(self, obj: Object) -> None:
        default_pod_spec(obj.setdefault("spec", {}), is_pod=True)

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj)}
        if obj["spec"].get("schedulingGates"):
            since = obj["metadata"].get("creationTimestamp")
            obj["status"]["conditions"] = [gated_condition(since)]

    def validate(self, obj: Object) -> list[Cause]:
        return validate_pod_spec(obj["spec"], "spec")

    def validate_new(self, obj: Object) -> list[Cause]:
        if obj["spec"].get("ephemeralContainers"):
            return [forbidden("spec.ephemeralContainers", "cannot be set on create")]
        return []

    def prepare_for_part(self, subresource: str, new: Object, old: Object) -> None:
        pod_parts.PREPARE[subresource](new, old)

    def validate_part(self, subresource: str, new: Object, old: Object) -> list[Cause]:
        return self.validate(new) + pod_parts.VALIDATE[subresource](new, old)

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        # Set by binding only; leaving it out is not a wish to unbind.
        if old["spec"].get("nodeName") and not new["spec"].get("nodeName"):
            new["spec"]["nodeName"] = old["spec"]["nodeName"]

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        causes = self.validate(new) + validate_gates(new["spec"], old["spec"])
        if old["spec"].get("schedulingGates"):
            causes += validate_narrowed(new["spec"], old["spec"])
        if _fixed_part(new["spec"], old["spec"]) != old["spec"]:
            causes.append(forbidden("spec", _SPEC_RULE))
        before = old["spec"].get("tolerations") or ()
        after = new["spec"].get("tolerations") or ()
        if any(_without_seconds(t) not in map(_without_seconds, after) for t in before):
            causes.append(
                forbidden(
                    "spec.tolerations",
                    "existing toleration can not be modified except its tolerationSeconds",
                )
            )
        return causes

    def grace_period_s(self, obj: Object, requested: int | None) -> int:
        if is_terminated(obj) or not obj["spec"].get("nodeName"):
            return 0
        period_s = requested
        if period_s is None:
            period_s = obj["spec"].get("terminationGracePeriodSeconds", 30)
        return 1 if period_s < 0 else int(period_s)


def _fixed_part(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """`new` with what may differ put back to `old`."""
    fixed = copy.copy(new)
    for name in ("activeDeadlineSeconds", "tolerations"):
        _put_back(fixed, old, name)
    if (
        old.get("terminationGracePeriodSeconds", 0) < 0
        and new.get("terminationGracePeriodSeconds") == 1
    ):
        _put_back(fixed, old, "terminationGracePeriodSeconds")
    if old.get("schedulingGates"):
        put_back_placement(fixed, old)
        _put_back(fixed, old, "schedulingGates")
    for kind in ("containers", "initContainers"):
        after, before = new.get(kind) or (), old.get(kind) or ()
        if len(after) == len(before) and after:
            fixed[kind] = [{**a, "image": b["image"]} for a, b in zip(after, before, strict=True)]
    return fixed


def _put_back(fixed: dict[str, Any], old: dict[str, Any], name: str) -> None:
    if name in old:
        fixed[name] = old[name]
    else:
        fixed.pop(name, None)


def _without_seconds(toleration: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in toleration.items() if k != "tolerationSeconds"}
