"""Roles and bindings. Who may grant what (escalation) is an admission step's business.

Source: Kubernetes API reference, rbac.authorization.k8s.io/v1; texts of upstream's validation.
"""

from __future__ import annotations

from typing import Any

from apiserver.registry.causes import forbidden, invalid, required, unsupported
from apiserver.registry.strategy import Strategy
from kubraft.api.errors import Cause
from kubraft.api.names import dns1123_subdomain_errors, path_segment_errors
from kubraft.api.object import Object

GROUP = "rbac.authorization.k8s.io"
_SUBJECT_KINDS = ("ServiceAccount", "User", "Group")


class _RbacStrategy(Strategy):
    create_on_update = True

    def name_errors(self, name: str) -> list[str]:
        return path_segment_errors(name)


class RoleStrategy(_RbacStrategy):
    """Roles and ClusterRoles; only the latter may name URLs."""

    def __init__(self, *, cluster: bool) -> None:
        self._cluster = cluster

    def default(self, obj: Object) -> None:
        obj.setdefault("rules", [])

    def validate(self, obj: Object) -> list[Cause]:
        causes: list[Cause] = []
        for index, rule in enumerate(obj.get("rules") or ()):
            causes += self._rule(rule, f"rules[{index}]")
        return causes

    def _rule(self, rule: dict[str, Any], field: str) -> list[Cause]:
        causes: list[Cause] = []
        if not rule.get("verbs"):
            causes.append(required(f"{field}.verbs", "verbs must contain at least one value"))
        urls = rule.get("nonResourceURLs")
        if urls:
            if not self._cluster:
                text = "namespaced rules cannot apply to non-resource URLs"
                causes.append(invalid(f"{field}.nonResourceURLs", urls, text))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                text = "rules cannot apply to both regular resources and non-resource URLs"
                causes.append(invalid(f"{field}.nonResourceURLs", urls, text))
            return causes
        if not rule.get("apiGroups"):
            text = "resource rules must supply at least one api group"
            causes.append(required(f"{field}.apiGroups", text))
        if not rule.get("resources"):
            text = "resource rules must supply at least one resource"
            causes.append(required(f"{field}.resources", text))
        return causes


class BindingStrategy(_RbacStrategy):
    """RoleBindings and ClusterRoleBindings."""

    def __init__(self, *, cluster: bool) -> None:
        self._cluster = cluster

    def default(self, obj: Object) -> None:
        role = obj.get("roleRef")
        if isinstance(role, dict):
            role["apiGroup"] = role.get("apiGroup") or GROUP
        for subject in obj.get("subjects") or ():
            if subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = subject.get("apiGroup") or GROUP

    def validate(self, obj: Object) -> list[Cause]:
        role = obj.get("roleRef") or {}
        causes: list[Cause] = []
        if role.get("apiGroup") != GROUP:
            causes.append(unsupported("roleRef.apiGroup", role.get("apiGroup", ""), [GROUP]))
        kinds = ["ClusterRole"] if self._cluster else ["Role", "ClusterRole"]
        if role.get("kind") not in kinds:
            causes.append(unsupported("roleRef.kind", role.get("kind", ""), kinds))
        if not role.get("name"):
            causes.append(required("roleRef.name"))
        for index, subject in enumerate(obj.get("subjects") or ()):
            causes += _subject(subject, f"subjects[{index}]")
        return causes

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        causes = self.validate(new)
        if new.get("roleRef") != old.get("roleRef"):
            causes.append(invalid("roleRef", new.get("roleRef"), "cannot change roleRef"))
        return causes


def _subject(subject: dict[str, Any], field: str) -> list[Cause]:
    causes: list[Cause] = []
    name, kind = subject.get("name", ""), subject.get("kind", "")
    if not name:
        causes.append(required(f"{field}.name"))
    if kind == "ServiceAccount":
        causes += [
            invalid(f"{field}.name", name, detail)
            for detail in (dns1123_subdomain_errors(name) if name else ())
        ]
        if subject.get("apiGroup"):
            causes.append(unsupported(f"{field}.apiGroup", subject["apiGroup"], [""]))
        if not subject.get("namespace"):
            causes.append(required(f"{field}.namespace"))
    elif kind in ("User", "Group"):
        if subject.get("apiGroup") != GROUP:
            causes.append(unsupported(f"{field}.apiGroup", subject.get("apiGroup", ""), [GROUP]))
        if subject.get("namespace"):
            causes.append(
                forbidden(f"{field}.namespace", "may not be set for this kind of subject")
            )
    else:
        causes.append(unsupported(f"{field}.kind", kind, _SUBJECT_KINDS))
    return causes
