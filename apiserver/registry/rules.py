"""Kinds said as tables: defaults by path, rules by path, and what may not change.

A rule looks at one place of an object and answers with causes. An absent field satisfies all rules
but `needed`.

Source: apimachinery's validation helpers (texts).
"""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from apiserver.registry.causes import (
    all_invalid,
    duplicate,
    forbidden,
    immutable,
    invalid,
    required,
    unsupported,
)
from apiserver.registry.metadata import label_causes
from apiserver.registry.numbers import NON_NEGATIVE
from apiserver.registry.paths import Place, at, places
from apiserver.registry.pod_defaults import canonical_amounts
from apiserver.registry.strategy import NameRule, Strategy
from kubraft.api.errors import Cause
from kubraft.api.names import dns1123_subdomain_errors, label_value_errors, qualified_name_errors
from kubraft.api.object import Object

Rule = Callable[[Place], list[Cause]]
# A path, and the rules on what is there.
Check = tuple[str | Rule, ...]

_VALUES_FORBIDDEN = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
_VALUES_NEEDED = "must be specified when `operator` is 'In' or 'NotIn'"


class RuleStrategy(Strategy):
    """A kind that is said by tables; functions add what tables cannot say."""

    needs_spec = False

    def __init__(
        self,
        *,
        name: NameRule = dns1123_subdomain_errors,
        defaults: Mapping[str, Any] | None = None,
        checks: Sequence[Check] = (),
        fixed: Mapping[str, str] | None = None,
        generation: bool = False,
        status: Object | None = None,
        status_checks: Sequence[Check] = (),
        amounts: Sequence[str] = (),
        default: Callable[[Object], None] | None = None,
        prepare: Callable[[Object], None] | None = None,
        change: Callable[[Object, Object], list[Cause]] | None = None,
        create_on_update: bool = False,
    ) -> None:
        """Make a kind.

        Args:
            defaults: by path; set where the object around it is there and the field is not.
            checks: on every write of the main resource.
            fixed: paths that keep their value, with the text of a Forbidden, or "" for the usual.
            status: what a new object has in it; None where the kind has no status.
            amounts: paths of resource lists, written in canonical form.
            default: what `defaults` cannot say.
            prepare: the last step before a new object is validated.
            change: rules on an update beyond `checks` and `fixed`.
        """
        self._name, self._checks, self._status_checks = name, checks, status_checks
        self._defaults, self._fixed = dict(defaults or {}), dict(fixed or {})
        self._amounts, self._default, self._prepare = amounts, default, prepare
        self._change = change
        self._status = status
        self.has_generation = generation
        self.has_status = status is not None
        self.create_on_update = create_on_update

    def name_errors(self, name: str) -> list[str]:
        return self._name(name)

    def default(self, obj: Object) -> None:
        for path, value in self._defaults.items():
            fill(obj, path, value)
        for path in self._amounts:
            for place in places(obj, path):
                canonical_amounts(place.value)
        if self._default is not None:
            self._default(obj)

    def prepare_for_create(self, obj: Object) -> None:
        if self._status is not None:
            obj["status"] = copy.deepcopy(self._status)
        if self._prepare is not None:
            self._prepare(obj)

    def validate(self, obj: Object) -> list[Cause]:
        return check(obj, self._checks)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        causes = self.validate(new)
        for path, text in self._fixed.items():
            value = at(new, path)
            if value != at(old, path):
                causes.append(forbidden(path, text) if text else immutable(path, value))
        return causes + (self._change(new, old) if self._change else [])

    def validate_status_update(self, new: Object, old: Object) -> list[Cause]:
        del old
        return check(new, self._status_checks)


def fill(obj: Object, path: str, value: Any) -> None:
    """Set a default where the field is absent and the object around it is not."""
    for place in places(obj, path):
        if place.value is None:
            place.holder[place.name] = copy.deepcopy(value)


def check(obj: Object, checks: Iterable[Check]) -> list[Cause]:
    """The causes of all rules, in the order of the table."""
    causes: list[Cause] = []
    for path, *rules in checks:
        assert isinstance(path, str)
        for place in places(obj, path):
            for rule in rules:
                assert not isinstance(rule, str)
                if found := rule(place):
                    causes += found
                    break
    return causes


def under(field: str, causes: Iterable[Cause]) -> list[Cause]:
    """Causes of a part as causes of the whole."""
    return [replace(cause, field=f"{field}.{cause.field}") for cause in causes]


def needed(detail: str = "") -> Rule:
    """The field must be there, and not be empty."""

    def rule(place: Place) -> list[Cause]:
        if place.value in (None, "", [], {}):
            return [required(place.field, detail)]
        return []

    return rule


def one_of(*choices: str) -> Rule:
    """The field is one of some words."""

    def rule(place: Place) -> list[Cause]:
        if place.value is None or place.value in choices:
            return []
        return [unsupported(place.field, place.value, choices)]

    return rule


def at_least(least: int, text: str = "") -> Rule:
    """The field is a number, and not less."""
    said = text or (NON_NEGATIVE if least == 0 else "must be greater than 0")

    def rule(place: Place) -> list[Cause]:
        if isinstance(place.value, int) and place.value < least:
            return [invalid(place.field, place.value, said)]
        return []

    return rule


def between(least: int, most: int, text: str = "") -> Rule:
    """The field is a number within bounds, both inclusive."""
    said = text or f"must be between {least} and {most}, inclusive"

    def rule(place: Place) -> list[Cause]:
        if isinstance(place.value, int) and not least <= place.value <= most:
            return [invalid(place.field, place.value, said)]
        return []

    return rule


def named(rule_of_name: NameRule) -> Rule:
    """The field obeys a rule on names."""

    def rule(place: Place) -> list[Cause]:
        if not place.value:
            return []
        return all_invalid(place.field, place.value, rule_of_name(place.value))

    return rule


def truly(holds: Callable[[Any], bool], text: str) -> Rule:
    """The field, where it is there, is something of which `holds` is true."""

    def rule(place: Place) -> list[Cause]:
        if place.value is None or holds(place.value):
            return []
        return [invalid(place.field, place.value, text)]

    return rule


def unique(name: str = "") -> Rule:
    """No two items of a list are equal, or have the same field `name`."""

    def rule(place: Place) -> list[Cause]:
        seen: list[Any] = []
        causes: list[Cause] = []
        for index, item in enumerate(place.value or ()):
            value = item.get(name) if name and isinstance(item, dict) else item
            if value in seen:
                field = f"{place.field}[{index}]" + (f".{name}" if name else "")
                causes.append(duplicate(field, value))
            seen.append(value)
        return causes

    return rule


def ip(place: Place) -> list[Cause]:
    """The field is an IP address."""
    try:
        ipaddress.ip_address(place.value or "::")
    except ValueError:
        text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        return [invalid(place.field, place.value, text)]
    return []


def label_selector(place: Place) -> list[Cause]:
    """The field is a LabelSelector that can be read."""
    if not isinstance(place.value, dict):
        return []
    field = place.field
    causes = label_causes(f"{field}.matchLabels", place.value.get("matchLabels") or {})
    for index, expression in enumerate(place.value.get("matchExpressions") or ()):
        causes += _requirement(f"{field}.matchExpressions[{index}]", expression)
    return causes


def _requirement(field: str, expression: Object) -> list[Cause]:
    causes: list[Cause] = []
    operator, values = expression.get("operator", ""), expression.get("values") or []
    if operator in ("In", "NotIn"):
        if not values:
            causes.append(required(f"{field}.values", _VALUES_NEEDED))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            causes.append(forbidden(f"{field}.values", _VALUES_FORBIDDEN))
    else:
        causes.append(invalid(f"{field}.operator", operator, "not a valid selector operator"))
    key = expression.get("key", "")
    causes += all_invalid(f"{field}.key", key, qualified_name_errors(key))
    for index, value in enumerate(values):
        causes += all_invalid(f"{field}.values[{index}]", value, label_value_errors(value))
    return causes
