"""Rules on a Pod's spec beyond the schema, in Pods and in templates.

Source: Kubernetes API reference, core/v1 PodSpec; texts of upstream's validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apiserver.registry import security_context
from apiserver.registry.causes import (
    all_invalid,
    duplicate,
    invalid,
    required,
    unsupported,
)
from apiserver.registry.container_validation import validate_container, validate_ephemeral
from apiserver.registry.metadata import label_causes
from apiserver.registry.numbers import non_negative
from apiserver.registry.placement_validation import placement_causes
from apiserver.registry.pod_network_validation import network_causes
from apiserver.registry.volume_validation import volume_causes
from kubraft.api.errors import Cause
from kubraft.api.names import (
    dns1123_label_errors,
    dns1123_subdomain_errors,
    qualified_name_errors,
)

Json = dict[str, Any]

_TOLERATION_OPERATORS = ("Exists", "Equal", "Lt", "Gt")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_PREEMPTIONS = ("Never", "PreemptLowerPriority")
_TARGETS = ("initContainers", "containers")


def validate_pod_spec(spec: Json, field: str) -> list[Cause]:
    """What is wrong with a spec that is defaulted and fits the schema."""
    volumes, causes = volume_causes(spec, f"{field}.volumes")
    causes += _containers(spec, field, volumes)
    causes += _choice(spec, field, "restartPolicy", ("Always", "OnFailure", "Never"))
    policies = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    causes += _choice(spec, field, "dnsPolicy", policies)
    causes += non_negative(f"{field}.terminationGracePeriodSeconds", spec)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        causes.append(
            invalid(
                f"{field}.activeDeadlineSeconds",
                deadline,
                "must be between 1 and 2147483647, inclusive",
            )
        )
    preemption = spec.get("preemptionPolicy")
    if preemption not in (None, *_PREEMPTIONS):
        causes.append(unsupported(f"{field}.preemptionPolicy", preemption, _PREEMPTIONS))
    for name in ("nodeName", "serviceAccountName", "priorityClassName", "runtimeClassName"):
        if value := spec.get(name):
            causes += all_invalid(f"{field}.{name}", value, dns1123_subdomain_errors(value))
    for name in ("hostname", "subdomain"):
        if value := spec.get(name):
            causes += all_invalid(f"{field}.{name}", value, dns1123_label_errors(value))
    causes += label_causes(f"{field}.nodeSelector", spec.get("nodeSelector") or {})
    causes += security_context.pod_causes(spec, field)
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        causes += _toleration(toleration, f"{field}.tolerations[{index}]")
    return causes + placement_causes(spec, field) + network_causes(spec, field)


def _choice(holder: Json, field: str, name: str, choices: tuple[str, ...]) -> list[Cause]:
    value = holder.get(name)
    if not value:
        return [required(f"{field}.{name}")]
    return [] if value in choices else [unsupported(f"{field}.{name}", value, choices)]


def _containers(spec: Json, field: str, volumes: Mapping[str, Json]) -> list[Cause]:
    causes: list[Cause] = []
    if not spec.get("containers"):
        causes.append(required(f"{field}.containers"))
    names: set[str] = set()
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            path = f"{field}.{kind}[{index}]"
            causes += validate_container(container, path, volumes, kind=kind)
            name = container.get("name", "")
            if name and name in names:
                causes.append(duplicate(f"{path}.name", name))
            names.add(name)
    targets = {c.get("name") for kind in _TARGETS for c in spec.get(kind) or ()}
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        causes += validate_ephemeral(container, f"{field}.ephemeralContainers[{index}]", targets)
    return causes


def _toleration(toleration: Json, path: str) -> list[Cause]:
    causes: list[Cause] = []
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    effect = toleration.get("effect", "")
    if key:
        causes += all_invalid(f"{path}.key", key, qualified_name_errors(key))
    elif operator != "Exists":
        causes.append(
            invalid(
                f"{path}.operator",
                operator,
                "operator must be Exists when `key` is empty, which means "
                '"match all values and all keys"',
            )
        )
    if operator and operator not in _TOLERATION_OPERATORS:
        causes.append(unsupported(f"{path}.operator", operator, _TOLERATION_OPERATORS[:2]))
    if operator == "Exists" and toleration.get("value"):
        causes.append(
            invalid(
                f"{path}.operator", toleration, "value must be empty when `operator` is 'Exists'"
            )
        )
    if effect and effect not in _EFFECTS:
        causes.append(unsupported(f"{path}.effect", effect, _EFFECTS))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        causes.append(
            invalid(
                f"{path}.effect",
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            )
        )
    return causes
