"""The policy file: how much is written of which request. The first rule that matches decides.

Source: audit.k8s.io/v1 Policy; upstream's audit/policy checker and its validation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from apiserver.rest.request_info import RequestInfo
from apiserver.user import User

API_VERSION: Final = "audit.k8s.io/v1"
STAGES: Final = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


class Level(IntEnum):
    """How much; each has what those before it have."""

    None_ = 0
    Metadata = 1
    Request = 2
    RequestResponse = 3


_LEVELS: Final = {"None": Level.None_, **{str(each.name): each for each in Level if each}}


class PolicyError(ValueError):
    """The file is no policy; the message says what is wrong where."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is written of one request."""

    level: Level
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False


NOTHING: Final = Decision(Level.None_)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; an empty selection matches everything."""

    decision: Decision
    users: tuple[str, ...]
    groups: tuple[str, ...]
    verbs: tuple[str, ...]
    namespaces: tuple[str, ...]
    resources: tuple[Mapping[str, Any], ...]
    paths: tuple[str, ...]

    def matches(self, user: User, info: RequestInfo) -> bool:
        if self.users and user.name not in self.users:
            return False
        if self.groups and not set(self.groups) & set(user.groups):
            return False
        if self.verbs and info.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            return info.is_resource and self._matches_resource(info)
        if self.paths:
            return not info.is_resource and any(_covers(path, info.path) for path in self.paths)
        return True

    def _matches_resource(self, info: RequestInfo) -> bool:
        if self.namespaces and info.namespace not in self.namespaces:
            return False
        return not self.resources or any(_has(row, info) for row in self.resources)


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules; what none of them matches is not written."""

    rules: tuple[Rule, ...]

    def decide(self, user: User, info: RequestInfo) -> Decision:
        for rule in self.rules:
            if rule.matches(user, info):
                return rule.decision
        return NOTHING


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        OSError: it cannot be read.
        PolicyError: it is no policy.
    """
    import yaml  # noqa: PLC0415 - rare, and slow to import

    try:
        value = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise PolicyError(f"{path}: {str(error).partition(chr(10))[0]}") from error
    try:
        return read_policy(value)
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from error


def read_policy(value: Any) -> Policy:
    """A policy of the values of its file.

    Raises:
        PolicyError: they are none.
    """
    if not isinstance(value, dict) or value.get("kind") != "Policy":
        raise PolicyError("kind must be Policy")
    if value.get("apiVersion") != API_VERSION:
        raise PolicyError(f"apiVersion must be {API_VERSION}")
    rules = value.get("rules")
    if not isinstance(rules, list) or not rules:
        raise PolicyError("rules: loaded illegal policy with 0 rules")
    everywhere = _stages(value.get("omitStages"), "omitStages")
    managed = _flag(value.get("omitManagedFields"), "omitManagedFields", default=False)
    return Policy(
        tuple(
            _rule(rule, f"rules[{i}]", everywhere, managed=managed) for i, rule in enumerate(rules)
        )
    )


def _rule(value: Any, field: str, everywhere: frozenset[str], *, managed: bool) -> Rule:
    if not isinstance(value, dict):
        raise PolicyError(f"{field}: must be an object")
    level = _LEVELS.get(str(value.get("level")))
    if level is None:
        choices = ", ".join(_LEVELS)
        raise PolicyError(f"{field}.level: Unsupported value: {value.get('level')!r}: {choices}")
    resources = value.get("resources") or []
    if not isinstance(resources, list) or not all(isinstance(row, dict) for row in resources):
        raise PolicyError(f"{field}.resources: must be a list of objects")
    paths, namespaces = _texts(value, "nonResourceURLs", field), _texts(value, "namespaces", field)
    if paths and (resources or namespaces):
        raise PolicyError(
            f"{field}.nonResourceURLs: rules cannot apply to both regular resources and "
            "non-resource URLs"
        )
    for path in paths:
        if path != "*" and (not path.startswith("/") or "*" in path[:-1]):
            raise PolicyError(f"{field}.nonResourceURLs: Invalid value: {path!r}")
    stages = everywhere | _stages(value.get("omitStages"), f"{field}.omitStages")
    omits = _flag(value.get("omitManagedFields"), f"{field}.omitManagedFields", default=managed)
    return Rule(
        Decision(level, stages, omits),
        _texts(value, "users", field),
        _texts(value, "userGroups", field),
        _texts(value, "verbs", field),
        namespaces,
        tuple(resources),
        paths,
    )


def _texts(value: Mapping[str, Any], name: str, field: str) -> tuple[str, ...]:
    found = value.get(name) or []
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise PolicyError(f"{field}.{name}: must be a list of strings")
    return tuple(found)


def _stages(value: Any, field: str) -> frozenset[str]:
    if wrong := [stage for stage in value or () if stage not in STAGES]:
        raise PolicyError(f"{field}: Invalid value: {wrong[0]!r}: allowed are {', '.join(STAGES)}")
    return frozenset(value or ())


def _flag(value: Any, field: str, *, default: bool) -> bool:
    if value is not None and not isinstance(value, bool):
        raise PolicyError(f"{field}: must be true or false")
    return default if value is None else value


def _covers(spec: str, path: str) -> bool:
    return spec in ("*", path) or (spec.endswith("*") and path.startswith(spec.rstrip("*")))


def _has(row: Mapping[str, Any], info: RequestInfo) -> bool:
    if row.get("group", "") not in (info.group, "*"):
        return False
    resources: Sequence[str] = row.get("resources") or ()
    names = row.get("resourceNames") or ()
    if not resources:
        return True
    if names and info.name not in names:
        return False
    sub = info.subresource
    whole = f"{info.resource}/{sub}" if sub else info.resource
    wanted = {whole, "*", f"{info.resource}/*"}
    if sub:
        wanted.add(f"*/{sub}")
    return any(resource in wanted for resource in resources)
