"""Rules on when a Job has failed or succeeded by its Pods.

Source: Kubernetes API reference, batch/v1 PodFailurePolicy, SuccessPolicy; upstream's texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from apiserver.registry.causes import (
    all_invalid,
    duplicate,
    invalid,
    invalid_whole,
    required,
    too_many,
    unsupported,
)
from kubraft.api.errors import Cause
from kubraft.api.names import qualified_name_errors

Json = dict[str, Any]

RULES_MAX = 20
EXIT_CODES_MAX = 255
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")


def failure_causes(spec: Json, field: str) -> Iterator[Cause]:
    """What is wrong with the podFailurePolicy of a Job; `field` is the path of its spec."""
    policy = spec.get("podFailurePolicy")
    if policy is None:
        return
    pod = (spec.get("template") or {}).get("spec") or {}
    replaced = spec.get("podReplacementPolicy")
    if replaced not in (None, "Failed"):
        yield unsupported(f"{field}.podReplacementPolicy", replaced, ["Failed"])
    rules, path = policy.get("rules") or (), f"{field}.podFailurePolicy.rules"
    if len(rules) > RULES_MAX:
        yield too_many(path, len(rules), RULES_MAX)
    names = {c.get("name") for k in ("containers", "initContainers") for c in pod.get(k) or ()}
    for index, rule in enumerate(rules):
        at = f"{path}[{index}]"
        yield from _action(rule, spec, f"{at}.action")
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if codes is not None:
            yield from _exit_codes(codes, f"{at}.onExitCodes", names)
        yield from _conditions(conditions or (), f"{at}.onPodConditions")
        if codes is not None and conditions:
            text = "specifying both OnExitCodes and OnPodConditions is not supported"
            yield invalid_whole(at, text)
        elif codes is None and not conditions:
            text = "specifying one of OnExitCodes and OnPodConditions is required"
            yield invalid_whole(at, text)


def success_causes(spec: Json, field: str) -> Iterator[Cause]:
    """What is wrong with the successPolicy of a Job; `field` is the path of its spec."""
    policy = spec.get("successPolicy")
    if policy is None:
        return
    path = f"{field}.successPolicy"
    if spec.get("completionMode") != "Indexed":
        yield invalid_whole(path, "requires indexed completion mode")
        return
    rules = policy.get("rules") or ()
    if not rules:
        rule = "at least one rules must be specified when the successPolicy is specified"
        yield required(f"{path}.rules", rule)
    if len(rules) > RULES_MAX:
        yield too_many(f"{path}.rules", len(rules), RULES_MAX)
    completions = spec.get("completions") or 0
    for index, rule in enumerate(rules):
        at, count = f"{path}.rules[{index}]", rule.get("succeededCount")
        if count is None and rule.get("succeededIndexes") is None:
            text = "at least one of succeededCount or succeededIndexes must be specified"
            yield required(at, text)
        if count is not None and count < 0:
            yield invalid(f"{at}.succeededCount", count, "must be greater than or equal to 0")
        elif count is not None and count > completions:
            text = (
                f"must be less than or equal to {completions} (the number of specified completions)"
            )
            yield invalid(f"{at}.succeededCount", count, text)


def _action(rule: Json, spec: Json, field: str) -> Iterator[Cause]:
    action = rule.get("action", "")
    if not action:
        yield required(field, _valid(_ACTIONS))
    elif action not in _ACTIONS:
        yield unsupported(field, action, _ACTIONS)
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        yield invalid(field, action, "requires the backoffLimitPerIndex to be set")


def _exit_codes(codes: Json, path: str, names: set[Any]) -> Iterator[Cause]:
    operator, values = codes.get("operator", ""), codes.get("values") or []
    if not operator:
        yield required(f"{path}.operator", _valid(_OPERATORS))
    elif operator not in _OPERATORS:
        yield unsupported(f"{path}.operator", operator, _OPERATORS)
    name = codes.get("containerName")
    if name is not None and name not in names:
        rule = "must be one of the container or initContainer names in the pod template"
        yield invalid(f"{path}.containerName", name, rule)
    if not values:
        yield invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > EXIT_CODES_MAX:
        yield too_many(f"{path}.values", len(values), EXIT_CODES_MAX)
    seen: set[int] = set()
    for index, value in enumerate(values):
        at = f"{path}.values[{index}]"
        if operator == "In" and value == 0:
            yield invalid(at, value, "must not be 0 for the In operator")
        if value in seen:
            yield duplicate(at, value)
        seen.add(value)
    if values != sorted(values):
        yield invalid(f"{path}.values", values, "must be ordered")


def _conditions(conditions: Any, path: str) -> Iterator[Cause]:
    if len(conditions) > RULES_MAX:
        yield too_many(path, len(conditions), RULES_MAX)
    for index, condition in enumerate(conditions):
        kind, status = condition.get("type", ""), condition.get("status", "")
        at = f"{path}[{index}]"
        yield from all_invalid(f"{at}.type", kind, qualified_name_errors(kind))
        if not status:
            yield required(f"{at}.status", _valid(_STATUSES))
        elif status not in _STATUSES:
            yield unsupported(f"{at}.status", status, _STATUSES)


def _valid(choices: Iterable[str]) -> str:
    """As Go prints a list of strings."""
    shown = " ".join(f'"{choice}"' for choice in choices)
    return f"valid values: [{shown}]"
