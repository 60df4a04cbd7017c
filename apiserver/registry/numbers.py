"""Rules on numbers, percentages and quantities."""

from __future__ import annotations

import re
from typing import Any

from apiserver.registry.causes import all_invalid, invalid
from kubraft.api.errors import Cause
from kubraft.api.names import qualified_name_errors
from kubraft.api.quantity import parse_quantity

NON_NEGATIVE = "must be greater than or equal to 0"
_PERCENT = re.compile(r"[0-9]+%")
# Without a prefix only these name a resource of a container.
_STANDARD_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})


def non_negative(field: str, holder: dict[str, Any]) -> list[Cause]:
    """A cause where the field (the last name of `field`) is below zero."""
    value = holder.get(field.rpartition(".")[2])
    if isinstance(value, int) and value < 0:
        return [invalid(field, value, NON_NEGATIVE)]
    return []


def int_or_percent(field: str, value: Any) -> list[Cause]:
    """Causes of what is neither a number of at least 0 nor a percentage."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            rule = "a valid percent string must be a numeric string followed by an ending '%'"
            return [invalid(field, value, f"{rule} (e.g. '1%',  or '93%', {_PERCENT_REGEX})")]
        return []
    return [invalid(field, value, NON_NEGATIVE)] if value < 0 else []


def is_zero(value: Any) -> bool:
    """Whether a number or percentage is none at all."""
    return value in (0, "0%")


def amounts(field: str, values: dict[str, Any] | None, *, of_container: bool) -> list[Cause]:
    """Causes of a resource list: names and quantities."""
    causes: list[Cause] = []
    for name, amount in (values or {}).items():
        path = f"{field}[{name}]"
        causes += all_invalid(path, name, qualified_name_errors(name))
        if of_container and not _is_container_resource(name):
            causes.append(invalid(path, name, "must be a standard resource for containers"))
        try:
            if parse_quantity(amount).nano < 0:
                causes.append(invalid(path, amount, NON_NEGATIVE))
        except ValueError as error:
            causes.append(invalid(path, amount, str(error)))
    return causes


def _is_container_resource(name: str) -> bool:
    return "/" in name or name in _STANDARD_RESOURCES or name.startswith("hugepages-")


_PERCENT_REGEX = "regex used for validation is '[0-9]+%'"
