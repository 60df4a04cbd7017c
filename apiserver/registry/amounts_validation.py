"""Rules on amounts of resources: of containers, of LimitRanges and of ResourceQuotas.

Source: Kubernetes documentation, "Resource Management for Pods and Containers", "Limit Ranges",
"Resource Quotas"; texts of upstream's validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apiserver.registry import numbers
from apiserver.registry.causes import (
    all_invalid,
    duplicate,
    forbidden,
    invalid,
    required,
)
from kubraft.api.errors import Cause
from kubraft.api.names import qualified_name_errors
from kubraft.api.quantity import Quantity, parse_quantity

Json = dict[str, Any]

_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
# The lower bound, the upper one, which of them is named, and what each is called.
_ORDER = (
    ("min", "max", "min", "min value", "max value"),
    ("min", "defaultRequest", "defaultRequest", "min value", "default request value"),
    ("defaultRequest", "max", "defaultRequest", "default request value", "max value"),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "default request value",
        "default limit value",
    ),
    ("min", "default", "default", "min value", "default value"),
    ("default", "max", "default", "default value", "max value"),
)
_SHOWN_AS = {("min", "default"): "min", ("default", "max"): "max"}
_OF_PODS = frozenset(
    (
        *("pods", "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory"),
        *("requests.ephemeral-storage", "limits.cpu", "limits.memory"),
        "limits.ephemeral-storage",
    )
)
_SCOPES = {
    "BestEffort": frozenset(("pods",)),
    "NotBestEffort": _OF_PODS,
    "Terminating": _OF_PODS,
    "NotTerminating": _OF_PODS,
    "PriorityClass": _OF_PODS,
    "CrossNamespacePodAffinity": _OF_PODS,
}
_STANDARD_QUOTA = _OF_PODS | frozenset(
    (
        *("requests.storage", "persistentvolumeclaims", "resourcequotas", "services"),
        *("replicationcontrollers", "secrets", "configmaps", "services.nodeports"),
        "services.loadbalancers",
    )
)
_OPPOSED = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))


def container_resource_causes(resources: Json, path: str) -> list[Cause]:
    """What is wrong with the requests and limits of a container."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    causes = numbers.amounts(f"{path}.limits", limits, of_container=True)
    causes += numbers.amounts(f"{path}.requests", requests, of_container=True)
    if causes:
        return causes
    for name, amount in requests.items():
        wanted = parse_quantity(amount)
        bound = parse_quantity(limits[name]) if name in limits else None
        if bound is None and not _may_overcommit(name):
            rule = "Limit must be set for non overcommitable resources"
            causes.append(required(f"{path}.limits", rule))
        elif bound is not None and wanted != bound and not _may_overcommit(name):
            rule = f"must be equal to {name} limit of {limits[name]}"
            causes.append(invalid(f"{path}.requests", amount, rule))
        elif bound is not None and wanted > bound:
            rule = f"must be less than or equal to {name} limit of {limits[name]}"
            causes.append(invalid(f"{path}.requests", amount, rule))
    named = {*limits, *requests}
    huge = any(name.startswith("hugepages-") for name in named)
    if huge and not named & {"cpu", "memory"}:
        causes.append(forbidden(path, "HugePages require cpu or memory"))
    return causes


def limit_causes(item: Json, field: str) -> list[Cause]:
    """What is wrong with one item of a LimitRange."""
    kind = item.get("type", "")
    causes = all_invalid(f"{field}.type", kind, qualified_name_errors(kind))
    if not causes and "/" not in kind and kind not in _LIMIT_TYPES:
        rule = "must be a standard limit type or fully qualified"
        causes.append(invalid(f"{field}.type", kind, rule))
    unreadable: list[Cause] = []
    for name in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
        unreadable += numbers.amounts(f"{field}.{name}", item.get(name), of_container=False)
    causes += unreadable
    if kind == "Pod":
        causes += [
            forbidden(f"{field}.{name}", "may not be specified when `type` is 'Pod'")
            for name in ("default", "defaultRequest")
            if item.get(name)
        ]
    if kind == "PersistentVolumeClaim":
        bounds = {**(item.get("min") or {}), **(item.get("max") or {})}
        if "storage" not in bounds:
            rule = "either minimum or maximum storage value is required, but neither was provided"
            causes.append(required(f"{field}.limits", rule))
    return causes if unreadable else [*causes, *_order(item, field), *_ratios(item, field)]


def _order(item: Json, field: str) -> Iterator[Cause]:
    for lower, upper, named, low_text, high_text in _ORDER:
        for name, amount in (item.get(lower) or {}).items():
            bound = (item.get(upper) or {}).get(name)
            if bound is not None and parse_quantity(amount) > parse_quantity(bound):
                rule = f"{low_text} {amount} is greater than {high_text} {bound}"
                shown = (item.get(_SHOWN_AS.get((lower, upper), named)) or {})[name]
                yield invalid(f"{field}.{named}[{name}]", shown, rule)
    for name, amount in (item.get("default") or {}).items():
        other = (item.get("defaultRequest") or {}).get(name)
        if other is not None and not _may_overcommit(name) and _read(other) != _read(amount):
            rule = f"default value {amount} must equal to defaultRequest value {other} in {name}"
            yield invalid(f"{field}.defaultRequest[{name}]", other, rule)


def _ratios(item: Json, field: str) -> Iterator[Cause]:
    for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
        at, nano = f"{field}.maxLimitRequestRatio[{name}]", _read(ratio).nano
        if nano < 10**9:
            yield invalid(at, ratio, f"ratio {ratio} is less than 1")
        least, most = ((item.get(bound) or {}).get(name) for bound in ("min", "max"))
        if least is not None and most is not None and _read(least).nano:
            limit = _read(most).nano / _read(least).nano
            if nano / 10**9 > limit:
                rule = f"ratio {ratio} is greater than max/min = {limit:f}"
                yield invalid(at, ratio, rule)


def quota_causes(spec: Json) -> list[Cause]:
    """What is wrong with the spec of a ResourceQuota."""
    causes = numbers.amounts("spec.hard", spec.get("hard"), of_container=False)
    scopes = spec.get("scopes") or []
    for scope in scopes:
        if scope not in _SCOPES:
            causes.append(invalid("spec.scopes", scopes, "unsupported scope"))
        for name in sorted(spec.get("hard") or ()):
            if name in _STANDARD_QUOTA and name not in _SCOPES.get(scope, _STANDARD_QUOTA):
                rule = "unsupported scope applied to resource"
                causes.append(invalid("spec.scopes", scopes, rule))
    for pair in _OPPOSED:
        if {*pair} <= {*scopes}:
            causes.append(invalid("spec.scopes", scopes, "conflicting scopes"))
    return causes


def duplicate_types(limits: list[Json], field: str) -> Iterator[Cause]:
    """Each type may be said once."""
    seen: set[str] = set()
    for index, item in enumerate(limits):
        kind = item.get("type", "")
        if kind in seen:
            yield duplicate(f"{field}[{index}].type", kind)
        seen.add(kind)


def _may_overcommit(name: str) -> bool:
    """Of Kubernetes' own resources, all but huge pages."""
    own = "/" not in name or "kubernetes.io/" in name
    return own and not name.startswith("hugepages-")


def _read(amount: Any) -> Quantity:
    return parse_quantity(amount)
