"""Strategies of the small core kinds, and of Leases.

Source: Kubernetes API reference, core/v1 and coordination.k8s.io/v1; upstream's texts.
"""

from __future__ import annotations

from typing import Any

from apiserver.registry import numbers
from apiserver.registry.amounts_validation import duplicate_types, limit_causes, quota_causes
from apiserver.registry.causes import (
    all_invalid,
    duplicate,
    forbidden,
    immutable,
    invalid,
    required,
    unsupported,
)
from apiserver.registry.pod_defaults import canonical_amounts
from apiserver.registry.strategy import Deletion, Strategy
from kubraft.api.errors import Cause
from kubraft.api.names import dns1123_label_errors, label_value_errors, qualified_name_errors
from kubraft.api.object import Object

EVENT_TTL_S = 3600
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class NamespaceStrategy(Strategy):
    """A Namespace ends when spec.finalizers is empty: its controller empties it first."""

    has_status = True
    deletion = Deletion.FINALIZED

    def name_errors(self, name: str) -> list[str]:
        return dns1123_label_errors(name)

    def default(self, obj: Object) -> None:
        if name := obj["metadata"].get("name"):
            labels = obj["metadata"].setdefault("labels", {})
            labels["kubernetes.io/metadata.name"] = name

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Active"}
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        if "kubernetes" not in finalizers:
            finalizers = [*finalizers, "kubernetes"]
        obj["spec"] = {"finalizers": finalizers}

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        new["spec"] = old.get("spec") or {}  # through its own subresource only


class NodeStrategy(Strategy):
    """A Node may be created with its status: that is how a node agent registers."""

    has_status = True

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})
        status = obj.get("status")
        if isinstance(status, dict):
            for name in ("capacity", "allocatable"):
                canonical_amounts(status.get(name))
            if status.get("capacity") and not status.get("allocatable"):
                status["allocatable"] = dict(status["capacity"])

    def prepare_for_create(self, obj: Object) -> None:
        obj.setdefault("status", {})

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        self.default(new)

    def validate(self, obj: Object) -> list[Cause]:
        causes: list[Cause] = []
        seen: set[tuple[str, str]] = set()
        for index, taint in enumerate(obj["spec"].get("taints") or ()):
            field = f"spec.taints[{index}]"
            key, effect = taint.get("key", ""), taint.get("effect", "")
            causes += all_invalid(f"{field}.key", key, qualified_name_errors(key))
            if value := taint.get("value"):
                causes += all_invalid(f"{field}.value", value, label_value_errors(value))
            if not effect:
                causes.append(required(f"{field}.effect"))
            elif effect not in _EFFECTS:
                causes.append(unsupported(f"{field}.effect", effect, _EFFECTS))
            if (key, effect) in seen:
                causes.append(duplicate(field, taint))
            seen.add((key, effect))
        return causes

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        causes = self.validate(new)
        for name in ("podCIDR", "providerID"):
            before, after = old["spec"].get(name), new["spec"].get(name)
            if before and after != before:
                rule = f'node updates may not change {name} except from "" to valid'
                causes.append(forbidden(f"spec.{name}", rule))
        return causes


class EventStrategy(Strategy):
    """Events vanish by themselves."""

    ttl_s = EVENT_TTL_S
    create_on_update = True

    def validate(self, obj: Object) -> list[Cause]:
        namespace = obj["metadata"].get("namespace", "")
        involved = (obj.get("involvedObject") or {}).get("namespace", "")
        if involved != namespace and (involved or namespace != "default"):
            return [invalid("involvedObject.namespace", involved, "does not match event.namespace")]
        return []


class LeaseStrategy(Strategy):
    """The rules of Leases."""

    create_on_update = True

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj["spec"]
        duration = spec.get("leaseDurationSeconds")
        causes = numbers.non_negative("spec.leaseTransitions", spec)
        if duration is not None and duration <= 0:
            field = "spec.leaseDurationSeconds"
            causes.append(invalid(field, duration, "must be greater than 0"))
        return causes


class ServiceAccountStrategy(Strategy):
    """A ServiceAccount has nothing to check."""


class LimitRangeStrategy(Strategy):
    """The rules of LimitRanges."""

    create_on_update = True

    def default(self, obj: Object) -> None:
        for item in (obj.get("spec") or {}).get("limits") or ():
            for name in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
                canonical_amounts(item.get(name))
            if item.get("type") == "Container":
                _default_limits(item)

    def validate(self, obj: Object) -> list[Cause]:
        limits = (obj.get("spec") or {}).get("limits") or []
        causes = list(duplicate_types(limits, "spec.limits"))
        for index, item in enumerate(limits):
            causes += limit_causes(item, f"spec.limits[{index}]")
        return causes


def _default_limits(item: dict[str, Any]) -> None:
    limits = {**(item.get("max") or {}), **(item.get("default") or {})}
    requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
    if limits:
        item["default"] = limits
    if requests:
        item["defaultRequest"] = requests


class ResourceQuotaStrategy(Strategy):
    """The rules of ResourceQuotas."""

    has_status = True

    def default(self, obj: Object) -> None:
        canonical_amounts((obj.setdefault("spec", {})).get("hard"))

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {}

    def validate(self, obj: Object) -> list[Cause]:
        return quota_causes(obj["spec"])

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        causes = self.validate(new)
        for name in ("scopes", "scopeSelector"):
            if new["spec"].get(name) != old["spec"].get(name):
                causes.append(immutable(f"spec.{name}", new["spec"].get(name)))
        return causes
