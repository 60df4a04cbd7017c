"""Whether a Pod that was bound to this node may run here: the node's own last word. Pure.

Source: upstream's node admission (reasons and texts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agents.node.plan import Waiting
from kubraft.api.object import Object
from kubraft.api.pods import pod_requests
from kubraft.api.quantity import Quantity, from_units

_UNITS = {"cpu"}


def refusal(
    pod: Object,
    others: Iterable[Object],
    allocatable: Mapping[str, Quantity],
    labels: Mapping[str, str],
) -> Waiting | None:
    """Why `pod` must not run here beside `others`; None where it may."""
    for key, value in (pod["spec"].get("nodeSelector") or {}).items():
        if labels.get(key) != value:
            return Waiting("NodeAffinity", "Predicate NodeAffinity failed")
    accepted = list(others)
    used: dict[str, Quantity] = {"pods": from_units(len(accepted))}
    for other in accepted:
        for name, amount in pod_requests(other).items():
            used[name] = used[name] + amount if name in used else amount
    for name, amount in {"pods": from_units(1), **pod_requests(pod)}.items():
        if name not in allocatable and name != "pods":
            continue
        total = used.get(name, from_units(0)) + amount
        if allocatable[name] < total:
            figures = (amount, used.get(name, from_units(0)), allocatable[name])
            asked, taken, capacity = (_figure(name, figure) for figure in figures)
            return Waiting(
                f"OutOf{name}",
                f"Node didn't have enough resource: {name}, requested: {asked}, "
                f"used: {taken}, capacity: {capacity}",
            )
    return None


def _figure(name: str, amount: Quantity) -> int:
    return amount.milli_value() if name in _UNITS else amount.value()
