"""PodDisruptionBudgets and PriorityClasses.

Source: Kubernetes API reference, policy/v1 and scheduling.k8s.io/v1; texts of upstream's
validation.
"""

from __future__ import annotations

from typing import Final

from apiserver.registry.causes import forbidden, invalid
from apiserver.registry.columns import AGE, NAME, cell, columns, number
from apiserver.registry.numbers import int_or_percent
from apiserver.registry.paths import Place
from apiserver.registry.resource import Resource
from apiserver.registry.rules import RuleStrategy, at_least, label_selector, one_of
from kubraft.api.errors import Cause
from kubraft.api.gvk import POD_DISRUPTION_BUDGET, PRIORITY_CLASS
from kubraft.api.object import Object

USER_PRIORITY_MAX = 1_000_000_000
SYSTEM_PREFIX: Final = "system-"
SYSTEM_CLASSES: Final = {
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    "system-cluster-critical": (
        2_000_000_000,
        (
            "Used for system critical pods that must run in the cluster, but can be moved to "
            "another node if necessary."
        ),
    ),
}


def _both(place: Place) -> list[Cause]:
    spec = place.value or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        return [invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")]
    return []


def _share(place: Place) -> list[Cause]:
    if place.value is None:
        return []
    causes = int_or_percent(place.field, place.value)
    if not causes and isinstance(place.value, str) and int(place.value[:-1]) > 100:
        causes.append(invalid(place.field, place.value, "must not be greater than 100%"))
    return causes


def _class_causes(place: Place) -> list[Cause]:
    obj = place.value
    name, value = obj["metadata"].get("name", ""), obj.get("value", 0)
    if not name.startswith(SYSTEM_PREFIX):
        if value <= USER_PRIORITY_MAX:
            return []
        text = f"maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"
        return [forbidden("value", text)]
    known = SYSTEM_CLASSES.get(name)
    if known is None:
        why = f"{name} is not a known system priority class"
    elif value != known[0]:
        why = f"value of {name} PriorityClass must be {known[0]}"
    elif obj.get("globalDefault"):
        why = f"globalDefault of {name} PriorityClass must be false"
    else:
        return []
    text = "priority class names with 'system-' prefix are reserved for system use only. error: "
    return [forbidden("metadata.name", text + why)]


def system_priority_classes() -> list[Object]:
    """The two classes that every cluster has."""
    return [
        {
            "apiVersion": PRIORITY_CLASS.api_version,
            "kind": PRIORITY_CLASS.kind,
            "metadata": {"name": name},
            "value": value,
            "description": description,
        }
        for name, (value, description) in SYSTEM_CLASSES.items()
    ]


def _yes_no(obj: Object) -> bool:
    return bool(obj.get("globalDefault"))


ROWS = (
    Resource(
        POD_DISRUPTION_BUDGET,
        "poddisruptionbudgets",
        RuleStrategy(
            checks=(
                ("spec", _both),
                ("spec.minAvailable", _share),
                ("spec.maxUnavailable", _share),
                ("spec.selector", label_selector),
                ("spec.unhealthyPodEvictionPolicy", one_of("AlwaysAllow", "IfHealthyBudget")),
            ),
            generation=True,
            status={
                "currentHealthy": 0,
                "desiredHealthy": 0,
                "disruptionsAllowed": 0,
                "expectedPods": 0,
            },
            status_checks=tuple(
                (f"status.{name}", at_least(0))
                for name in (
                    "disruptionsAllowed",
                    "currentHealthy",
                    "desiredHealthy",
                    "expectedPods",
                )
            ),
        ),
        columns(
            NAME,
            cell("Min Available", "spec.minAvailable", none="N/A"),
            cell("Max Unavailable", "spec.maxUnavailable", none="N/A"),
            number("Allowed Disruptions", "status.disruptionsAllowed"),
            AGE,
        ),
        short_names=("pdb",),
        subresources=("status",),
    ),
    Resource(
        PRIORITY_CLASS,
        "priorityclasses",
        RuleStrategy(
            defaults={"preemptionPolicy": "PreemptLowerPriority"},
            checks=(
                ("", _class_causes),
                ("preemptionPolicy", one_of("Never", "PreemptLowerPriority")),
            ),
            fixed={"value": "may not be changed in an update.", "preemptionPolicy": ""},
            generation=True,
            create_on_update=True,
        ),
        columns(
            NAME,
            number("Value", "value"),
            cell("Global-Default", _yes_no, type_="boolean"),
            AGE,
            cell("PreemptionPolicy", "preemptionPolicy"),
        ),
        namespaced=False,
        short_names=("pc",),
    ),
)
