"""RBAC: what Roles and ClusterRoles grant to whom, indexed by who asks.

The index is rebuilt when an RBAC object has changed, at the next question: those objects change
rarely and are read on every request. A binding whose role does not exist grants nothing.

Source: Kubernetes documentation, "Using RBAC Authorization".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from apiserver.authz.attributes import DENIED, Attributes, Decision
from apiserver.authz.rule import Rule, parse_rules
from apiserver.bounded_cache import BoundedCache
from apiserver.reader import Reader
from apiserver.user import User
from kubraft.api.gvk import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from kubraft.api.labels import selector_from_object
from kubraft.api.object import Object, labels_of

DECISIONS_MAX: Final = 16_384
USERS_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Grant:
    """The rules that one binding gives to one subject; `namespace` is "" for all of them."""

    namespace: str
    rules: tuple[Rule, ...]
    binding: str
    role: str
    subject: str

    @property
    def cluster_wide(self) -> bool:
        """Whether it holds in every namespace, for cluster-scoped resources and for URLs."""
        return not self.namespace

    def reason(self) -> str:
        """Upstream's text for the audit log."""
        kind = "RoleBinding" if self.namespace else "ClusterRoleBinding"
        binding = f"{self.binding}/{self.namespace}" if self.namespace else self.binding
        return f'RBAC: allowed by {kind} "{binding}" of {self.role} to {self.subject}'


class RbacAuthorizer:
    """Answers from an index over the four RBAC kinds; repeated questions from a cache."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._stale = True
        self._grants: dict[str, list[Grant]] = {}
        self._of_user: BoundedCache[tuple[str, ...], tuple[Grant, ...]]
        self._decisions: BoundedCache[tuple[object, ...], Decision]
        self._forget()
        for gvk in (ROLE, CLUSTER_ROLE, ROLE_BINDING, CLUSTER_ROLE_BINDING):
            reader.add_handler(gvk, self._on_change)

    def authorize(self, attributes: Attributes) -> Decision:
        """Whether any binding of the user or of one of its groups allows the action."""
        self._refresh()
        a = attributes
        key = (
            a.user.name, a.user.groups, a.verb, a.group, a.resource, a.subresource, a.namespace,
            a.name, a.path,
        )  # fmt: skip
        decision = self._decisions.find(key)
        if decision is None:
            decision = self._decide(attributes)
            self._decisions.put(key, decision)
        return decision

    def rules_of(self, user: User, namespace: str) -> list[Rule]:
        """All that `user` holds in `namespace`; with "", what it holds everywhere."""
        self._refresh()
        return [rule for grant in self._grants_of(user, namespace) for rule in grant.rules]

    def find_role_rules(self, role_ref: dict[str, Any], namespace: str) -> tuple[Rule, ...] | None:
        """The rules of the role that a binding in `namespace` refers to, or None."""
        self._refresh()
        if role_ref.get("kind") == "ClusterRole":
            return self._cluster_roles.get(role_ref.get("name", ""))
        return self._roles.get((namespace, role_ref.get("name", "")))

    def _decide(self, attributes: Attributes) -> Decision:
        for grant in self._grants_of(attributes.user, attributes.namespace):
            if any(rule.allows(attributes) for rule in grant.rules):
                return Decision(True, grant.reason())
        return DENIED

    def _grants_of(self, user: User, namespace: str) -> Iterator[Grant]:
        key = (user.name, *user.groups)
        grants = self._of_user.find(key)
        if grants is None:
            subjects = [f'User "{user.name}"', *(f'Group "{g}"' for g in user.groups)]
            grants = tuple(grant for s in subjects for grant in self._grants.get(s, ()))
            self._of_user.put(key, grants)
        return (g for g in grants if g.cluster_wide or g.namespace == namespace)

    def _on_change(self, _old: Object | None, _new: Object | None) -> None:
        self._stale = True

    def _forget(self) -> None:
        self._of_user = BoundedCache(USERS_MAX)
        self._decisions = BoundedCache(DECISIONS_MAX)

    def _refresh(self) -> None:
        if not self._stale:
            return
        self._stale = False
        self._roles = {
            (role["metadata"]["namespace"], role["metadata"]["name"]): parse_rules(
                role.get("rules")
            )
            for role in self._reader.list(ROLE)
        }
        self._cluster_roles = cluster_role_rules(self._reader.list(CLUSTER_ROLE))
        self._grants = {}
        for gvk in (CLUSTER_ROLE_BINDING, ROLE_BINDING):
            for binding in self._reader.list(gvk):
                self._index(binding)
        self._forget()

    def _index(self, binding: Object) -> None:
        namespace = binding["metadata"].get("namespace", "")
        ref = binding.get("roleRef") or {}
        rules = self.find_role_rules(ref, namespace)
        if not rules:
            return
        role = f'{ref.get("kind", "Role")} "{ref.get("name", "")}"'
        for subject in binding.get("subjects") or ():
            name = subject_of(subject, namespace)
            grant = Grant(namespace, rules, binding["metadata"]["name"], role, name)
            self._grants.setdefault(name, []).append(grant)


def subject_of(subject: dict[str, Any], namespace: str) -> str:
    """Name a subject as `User "x"` or `Group "x"`; a ServiceAccount is the user it acts as."""
    if subject.get("kind") == "ServiceAccount":
        where = subject.get("namespace") or namespace
        return f'User "system:serviceaccount:{where}:{subject.get("name", "")}"'
    return f'{subject.get("kind", "")} "{subject.get("name", "")}"'


def cluster_role_rules(roles: Iterable[Object]) -> dict[str, tuple[Rule, ...]]:
    """Rules by the name of the ClusterRole; one that aggregates has those of all that it selects.

    Selection is by labels alone and goes as deep as roles select roles that aggregate.
    """
    all_roles = {role["metadata"]["name"]: role for role in roles}
    resolved: dict[str, tuple[Rule, ...]] = {}
    for name in all_roles:
        reached = _aggregated(name, all_roles)
        rules = (rule for one in reached for rule in parse_rules(all_roles[one].get("rules")))
        resolved[name] = tuple(dict.fromkeys(rules))
    return resolved


def _aggregated(start: str, roles: dict[str, Object]) -> list[str]:
    """`start` and, transitively, the roles that it aggregates, in the order of their names."""
    reached, pending = {start}, [start]
    while pending:
        rule = roles[pending.pop()].get("aggregationRule") or {}
        for selector_object in rule.get("clusterRoleSelectors") or ():
            try:
                selector = selector_from_object(selector_object)
            except ValueError:
                continue  # selects nothing; validation refuses such a role at its creation
            for name, role in roles.items():
                if name not in reached and selector.matches(labels_of(role)):
                    reached.add(name)
                    pending.append(name)
    return sorted(reached)
