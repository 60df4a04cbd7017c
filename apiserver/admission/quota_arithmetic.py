"""The arithmetic of charging a quota, and upstream's words for what it refuses. Pure.

Source: Kubernetes documentation, "Resource Quotas"; upstream's quota evaluators (texts).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubraft.api.object import Object
from kubraft.api.pods import Resources, all_containers, container_resources
from kubraft.api.quantity import ZERO, parse_quantity

# What each container must specify where a quota limits it.
_REQUIRED: Final = frozenset(
    {"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"}
)


def hard_of(quota: Object) -> Resources:
    """The limits of `quota`."""
    return parse_resources((quota.get("spec") or {}).get("hard"))


def used_of(quota: Object) -> Resources:
    """What `quota` counts as used so far; lacks what was never counted."""
    return parse_resources((quota.get("status") or {}).get("used"))


def parse_resources(amounts: Mapping[str, str] | None) -> Resources:
    """Amounts by name, from their JSON form."""
    return {name: parse_quantity(text) for name, text in (amounts or {}).items()}


def added(used: Resources, delta: Resources) -> Resources:
    """`used` and `delta` together, for the names that `used` counts; never below zero."""
    return {
        name: max(amount + delta[name], ZERO) if name in delta else amount
        for name, amount in used.items()
    }


def exceeded(hard: Resources, used: Resources, delta: Resources) -> list[str]:
    """The names of `hard` that growing by `delta` would overrun, sorted."""
    return sorted(
        name
        for name, amount in delta.items()
        if name in hard and amount > ZERO and used.get(name, ZERO) + amount > hard[name]
    )


def exceeded_message(
    quota_name: str, names: list[str], *, hard: Resources, used: Resources, delta: Resources
) -> str:
    """Upstream's text for what `exceeded` found."""

    def shown(amounts: Resources) -> str:
        return ",".join(f"{name}={amounts.get(name, ZERO)}" for name in names)

    return (
        f"exceeded quota: {quota_name}, requested: {shown(delta)}, used: {shown(used)}, "
        f"limited: {shown(hard)}"
    )


def unspecified_message(quota: Object, pod: Object) -> str:
    """Upstream's text where `quota` limits what a container of `pod` leaves open; else ""."""
    required = _REQUIRED & hard_of(quota).keys()
    missing: dict[str, list[str]] = {}
    if required and not (pod.get("spec") or {}).get("resources"):
        for container in all_containers(pod.get("spec") or {}):
            for name in sorted(required - _specified(container)):
                missing.setdefault(name, []).append(container.get("name", ""))
    if not missing:
        return ""
    shown = "; ".join(f"{name} for: {','.join(sorted(c))}" for name, c in sorted(missing.items()))
    return f"failed quota: {quota['metadata']['name']}: must specify {shown}"


def _specified(container: Mapping[str, Any]) -> set[str]:
    limits = container_resources(container, "limits")
    requests = {**limits, **container_resources(container, "requests")}
    return {
        *requests,
        *(f"requests.{name}" for name in requests),
        *(f"limits.{name}" for name in limits),
    }
