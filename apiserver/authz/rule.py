"""PolicyRules: which actions one allows, and which rules cover which others.

Source: Kubernetes rbac.authorization.k8s.io/v1 PolicyRule; rbac validation "Covers".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from apiserver.authz.attributes import Attributes

ALL = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """One PolicyRule, ready for matching. Either resources or URLs are set."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    urls: tuple[str, ...] = ()

    def allows(self, attributes: Attributes) -> bool:
        """Whether this rule alone lets the action pass."""
        if attributes.verb not in self.verbs and ALL not in self.verbs:
            return False
        if attributes.path:
            return any(_url_matches(url, attributes.path) for url in self.urls)
        if attributes.group not in self.groups and ALL not in self.groups:
            return False
        if not _resource_matches(self.resources, attributes.resource, attributes.subresource):
            return False
        return not self.names or attributes.name in self.names

    def __str__(self) -> str:
        """Upstream's compact form: {APIGroups:[""], Resources:["pods"], Verbs:["get"]}."""
        fields = [
            ("APIGroups", self.groups),
            ("Resources", self.resources),
            ("NonResourceURLs", self.urls),
            ("ResourceNames", self.names),
            ("Verbs", self.verbs),
        ]
        return "{" + ", ".join(f"{n}:{quoted(sorted(v))}" for n, v in fields if v) + "}"


def parse_rules(rules: Iterable[dict[str, Any]] | None) -> tuple[Rule, ...]:
    """The rules of a Role or ClusterRole object."""
    return tuple(
        Rule(
            frozenset(rule.get("verbs") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("resources") or ()),
            frozenset(rule.get("resourceNames") or ()),
            tuple(rule.get("nonResourceURLs") or ()),
        )
        for rule in rules or ()
    )


def uncovered(held: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The part of `wanted` that `held` does not allow, one verb and resource a rule.

    Each wanted rule is split into its single permissions; each of those must be held whole.
    """
    missing: list[Rule] = []
    for rule in wanted:
        for single in _singles(rule):
            if single not in missing and not any(_covers(owner, single) for owner in held):
                missing.append(single)
    return missing


def quoted(values: Iterable[str]) -> str:
    """A list of texts as upstream prints it: ["a" "b"]."""
    return "[" + " ".join(f'"{value}"' for value in values) + "]"


def _singles(rule: Rule) -> Iterable[Rule]:
    verbs = sorted(rule.verbs)
    for group, resource, verb in product(sorted(rule.groups), sorted(rule.resources), verbs):
        for names in [frozenset({name}) for name in sorted(rule.names)] or [frozenset[str]()]:
            yield Rule(frozenset({verb}), frozenset({group}), frozenset({resource}), names)
    for url, verb in product(rule.urls, verbs):
        yield Rule(frozenset({verb}), urls=(url,))


def _covers(owner: Rule, single: Rule) -> bool:
    if not (ALL in owner.verbs or single.verbs <= owner.verbs):
        return False
    if single.urls:
        return any(_url_matches(url, single.urls[0]) for url in owner.urls)
    if not (ALL in owner.groups or single.groups <= owner.groups):
        return False
    (wanted,) = single.resources
    resource, _, subresource = wanted.partition("/")
    if wanted == ALL:
        if ALL not in owner.resources:
            return False
    elif wanted not in owner.resources and not _resource_matches(
        owner.resources, resource, subresource
    ):
        return False
    return not owner.names or (bool(single.names) and single.names <= owner.names)


def _resource_matches(resources: frozenset[str], resource: str, subresource: str) -> bool:
    if ALL in resources:
        return True
    if not subresource:
        return resource in resources
    return f"{resource}/{subresource}" in resources or f"*/{subresource}" in resources


def _url_matches(url: str, path: str) -> bool:
    return url in (ALL, path) or (url.endswith(ALL) and path.startswith(url[:-1]))
