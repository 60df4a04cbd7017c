"""FlowSchemas ready for matching. Pure.

Source: Kubernetes flowcontrol.apiserver.k8s.io/v1 FlowSchema.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from apiserver.user import User
from kubraft.api.object import Object

_ACCOUNT: Final = "system:serviceaccount:"
_PRECEDENCE: Final = 1000  # where a FlowSchema says none


class Request(NamedTuple):
    """What of a request decides on its flow; `path` is set where it is for no resource."""

    user: str
    groups: tuple[str, ...]
    verb: str
    group: str = ""
    resource: str = ""  # with its subresource: pods/status
    namespace: str = ""
    path: str = ""

    @classmethod
    def of(cls, user: User, verb: str, **rest: str) -> Request:
        return cls(user.name, user.groups, verb, **rest)


@dataclass(frozen=True, slots=True)
class _Rule:
    """Either resources or paths; a list with "*" takes everything."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    cluster: bool = False
    paths: tuple[str, ...] = ()

    def matches(self, request: Request) -> bool:
        if not _holds(self.verbs, request.verb):
            return False
        if request.path:
            return any(_path_matches(path, request.path) for path in self.paths)
        if not (_holds(self.groups, request.group) and _holds(self.resources, request.resource)):
            return False
        if not request.namespace:
            return self.cluster
        return _holds(self.namespaces, request.namespace)


@dataclass(frozen=True, slots=True)
class FlowSchema:
    """One FlowSchema; those of lower precedence are tried first."""

    name: str
    uid: str
    level: str
    precedence: int
    by: str  # "", "ByUser" or "ByNamespace"
    rules: tuple[tuple[tuple[tuple[str, str], ...], tuple[_Rule, ...]], ...]

    def matches(self, request: Request) -> bool:
        return any(
            any(_is(subject, request) for subject in subjects)
            and any(rule.matches(request) for rule in rules)
            for subjects, rules in self.rules
        )

    def flow_of(self, request: Request) -> str:
        """What tells the flows of this schema apart."""
        if self.by == "ByUser":
            return request.user
        return request.namespace if self.by == "ByNamespace" else ""


def parse_schema(obj: Object) -> FlowSchema:
    """Read a FlowSchema object, which has been validated."""
    spec, metadata = obj["spec"], obj["metadata"]
    return FlowSchema(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        level=spec["priorityLevelConfiguration"]["name"],
        precedence=spec.get("matchingPrecedence", _PRECEDENCE),
        by=(spec.get("distinguisherMethod") or {}).get("type", ""),
        rules=tuple(_parse_rules(rules) for rules in spec.get("rules") or ()),
    )


def in_order(schemas: Iterable[FlowSchema]) -> tuple[FlowSchema, ...]:
    """As they are tried: by precedence, then by name."""
    return tuple(sorted(schemas, key=lambda schema: (schema.precedence, schema.name)))


def _parse_rules(
    rules: dict[str, Any],
) -> tuple[tuple[tuple[str, str], ...], tuple[_Rule, ...]]:
    subjects = tuple(_subject(subject) for subject in rules.get("subjects") or ())
    parsed = [
        _Rule(
            frozenset(rule.get("verbs") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("resources") or ()),
            frozenset(rule.get("namespaces") or ()),
            bool(rule.get("clusterScope")),
        )
        for rule in rules.get("resourceRules") or ()
    ]
    parsed += [
        _Rule(frozenset(rule.get("verbs") or ()), paths=tuple(rule.get("nonResourceURLs") or ()))
        for rule in rules.get("nonResourceRules") or ()
    ]
    return subjects, tuple(parsed)


def _subject(subject: dict[str, Any]) -> tuple[str, str]:
    """Kind and name; a ServiceAccount by the name under which it acts."""
    kind = subject["kind"]
    if kind == "ServiceAccount":
        account = subject["serviceAccount"]
        return kind, f"{_ACCOUNT}{account['namespace']}:{account['name']}"
    return kind, (subject.get(kind.lower()) or {}).get("name", "")


def _is(subject: tuple[str, str], request: Request) -> bool:
    kind, name = subject
    if kind == "Group":
        return name == "*" or name in request.groups
    if kind == "ServiceAccount" and name.endswith(":*"):
        return request.user.startswith(name[:-1])
    return name in ("*", request.user)


def _holds(values: frozenset[str], value: str) -> bool:
    return "*" in values or value in values


def _path_matches(pattern: str, path: str) -> bool:
    if pattern == "*":
        return True
    if pattern.endswith("/*"):
        return path.startswith(pattern[:-1])
    return path.rstrip("/") == pattern.rstrip("/")
