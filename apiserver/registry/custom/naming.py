"""Which names a CustomResourceDefinition gets, and the conditions that say so. Pure.

Source: Kubernetes API reference, CustomResourceDefinitionStatus; upstream's naming controller
(reasons and messages).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from kubraft.api.conditions import Condition, conditions_of, is_true, with_condition
from kubraft.api.object import Object

_SINGLES = (
    ("plural", "PluralConflict"),
    ("singular", "SingularConflict"),
    ("kind", "KindConflict"),
    ("listKind", "ListKindConflict"),
)
_OF_KINDS = ("kind", "listKind")
_NOT_ACCEPTED = ("NotAccepted", "not all names are accepted")
_ESTABLISHED = ("InitialNamesAccepted", "the initial names have been accepted")


def named(definition: Object, others: Iterable[Object], now: datetime) -> dict[str, Any]:
    """The status of a definition among the others of its group: names and conditions.

    Names that are taken are left to who has them; those that a definition has got it keeps until
    it asks for others.
    """
    resources, kinds = _taken(others)
    asked = definition["spec"]["names"]
    status = definition.get("status") or {}
    accepted = status.get("acceptedNames") or {}
    names, refusal = dict(accepted), None
    for field, reason in _SINGLES:
        wanted = asked.get(field, "")
        taken = kinds if field in _OF_KINDS else resources
        if wanted != accepted.get(field) and wanted in taken:
            refusal = reason, f'"{wanted}" is already in use'
        else:
            names[field] = wanted
    short = asked.get("shortNames") or []
    held = set(accepted.get("shortNames") or ())
    if doubles := [name for name in short if name not in held and name in resources]:
        problems = [f'"{name}" is already in use' for name in doubles]
        shown = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        refusal = refusal or ("ShortNamesConflict", shown)
    else:
        names["shortNames"] = short
    names["categories"] = asked.get("categories") or []
    names = {n: value for n, value in names.items() if value or n in ("plural", "kind")}
    return {**status, "acceptedNames": names, "conditions": _conditions(definition, refusal, now)}


def _conditions(
    definition: Object, refusal: tuple[str, str] | None, now: datetime
) -> list[Condition]:
    reason, message = refusal or ("NoConflicts", "no conflicts found")
    names = _condition("NamesAccepted", "False" if refusal else "True", reason, message)
    conditions = with_condition(conditions_of(definition), names, now)
    if is_true(definition, "Established"):
        return conditions
    status = "False" if refusal else "True"
    established = _condition("Established", status, *(_NOT_ACCEPTED if refusal else _ESTABLISHED))
    return with_condition(conditions, established, now)


def terminating(
    definition: Object, status: str, reason: str, message: str, now: datetime
) -> dict[str, Any]:
    """The status of a definition that is being deleted."""
    condition = _condition("Terminating", status, reason, message)
    conditions = with_condition(conditions_of(definition), condition, now)
    return {**(definition.get("status") or {}), "conditions": conditions}


def _condition(type_: str, status: str, reason: str, message: str) -> Condition:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def _taken(others: Iterable[Object]) -> tuple[set[str], set[str]]:
    """The names of resources, and those of kinds, that others have got."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        names = (other.get("status") or {}).get("acceptedNames") or {}
        resources |= {names.get("plural", ""), names.get("singular", "")}
        resources |= set(names.get("shortNames") or ())
        kinds |= {names.get("kind", ""), names.get("listKind", "")}
    return resources - {""}, kinds - {""}
