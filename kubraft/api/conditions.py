"""Conditions: the typed observations in `status.conditions`.

Source: Kubernetes API conventions, "Typical status properties".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from kubraft.api.object import Object
from kubraft.api.time import format_time

Condition = dict[str, Any]


def conditions_of(obj: Object) -> list[Condition]:
    """`status.conditions`, empty where absent."""
    found: list[Condition] = (obj.get("status") or {}).get("conditions") or []
    return found


def find_condition(conditions: Iterable[Condition] | None, type_: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((c for c in conditions or () if c.get("type") == type_), None)


def is_true(obj: Object, type_: str) -> bool:
    """Whether `obj` has condition `type_` with status "True"."""
    condition = find_condition(conditions_of(obj), type_)
    return condition is not None and condition.get("status") == "True"


def with_condition(
    conditions: Iterable[Condition] | None, condition: Condition, now: datetime
) -> list[Condition]:
    """`conditions` with `condition` in the place of the one of its type, or at the end.

    `lastTransitionTime` is `now` only where the status changed (or is new); else the old one stays.
    The given lists and dictionaries are not changed.
    """
    result = list(conditions or ())
    fresh = dict(condition)
    for index, old in enumerate(result):
        if old.get("type") == condition["type"]:
            if old.get("status") == condition["status"] and "lastTransitionTime" in old:
                fresh["lastTransitionTime"] = old["lastTransitionTime"]
            else:
                fresh.setdefault("lastTransitionTime", format_time(now))
            result[index] = fresh
            return result
    fresh.setdefault("lastTransitionTime", format_time(now))
    result.append(fresh)
    return result


def without_condition(conditions: Iterable[Condition] | None, type_: str) -> list[Condition]:
    """`conditions` less the one of that type."""
    return [c for c in conditions or () if c.get("type") != type_]
