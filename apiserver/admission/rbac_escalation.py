"""Nobody gives away, by a role or a binding, what they do not have themselves.

Writing a Role needs its rules, or verb "escalate" on it; writing a binding needs the rules of the
role it refers to, or verb "bind" on that role. A role that aggregates may come to hold anything,
so it needs everything.

Source: Kubernetes documentation, "Privilege escalation prevention and bootstrapping".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionRequest, Operation
from apiserver.authz import Attributes, Authorizer
from apiserver.authz.authorizer import PRIVILEGED_GROUP
from apiserver.authz.rule import Rule, parse_rules, quoted, uncovered
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from kubraft.api.object import Object

_ROLES: Final = (ROLE, CLUSTER_ROLE)
_BINDINGS: Final = (ROLE_BINDING, CLUSTER_ROLE_BINDING)
_GROUP: Final = ROLE.group
_EVERYTHING: Final = (
    Rule(frozenset("*"), frozenset("*"), frozenset("*")),
    Rule(frozenset("*"), urls=("*",)),
)


class RbacEscalation(Plugin):
    """Compares what a write grants with what its user holds."""

    name = "RbacEscalation"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, request: AdmissionRequest) -> bool:
        return (
            request.gvk in (*_ROLES, *_BINDINGS)
            and request.operation in (Operation.CREATE, Operation.UPDATE)
            and PRIVILEGED_GROUP not in request.user.groups
        )

    async def validate(self, request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        if request.gvk in _ROLES:
            self._check_role(request, request.obj)
        else:
            self._check_binding(request, request.obj)

    def _check_role(self, request: AdmissionRequest, role: Object) -> None:
        fields = ("rules", "aggregationRule")
        if request.old and all(request.old.get(f) == role.get(f) for f in fields):
            return
        if self._may(request, "escalate", request.resource, role["metadata"].get("name", "")):
            return
        granted = parse_rules(role.get("rules"))
        if role.get("aggregationRule"):
            granted = (*granted, *_EVERYTHING)
        self._check_held(request, granted)

    def _check_binding(self, request: AdmissionRequest, binding: Object) -> None:
        fields = ("roleRef", "subjects")
        if request.old and all(request.old.get(f) == binding.get(f) for f in fields):
            return
        ref = binding.get("roleRef") or {}
        resource = "clusterroles" if ref.get("kind") == "ClusterRole" else "roles"
        name = ref.get("name", "")
        if self._may(request, "bind", resource, name):
            return
        granted = self._authorizer.find_role_rules(ref, request.namespace)
        if granted is None:
            raise NotFoundError(
                f'{resource}.{_GROUP} "{name}" not found', group=_GROUP, kind=resource, name=name
            )
        self._check_held(request, granted)

    def _may(self, request: AdmissionRequest, verb: str, resource: str, name: str) -> bool:
        attributes = Attributes(
            request.user, verb, _GROUP, "v1", resource, "", request.namespace, name
        )
        return self._authorizer.authorize(attributes).allowed

    def _check_held(self, request: AdmissionRequest, granted: Sequence[Rule]) -> None:
        held = self._authorizer.rules_of(request.user, request.namespace)
        missing = uncovered(held, granted)
        if missing:
            raise request.forbidden(
                f'user "{request.user.name}" (groups={quoted(request.user.groups)}) is attempting '
                "to grant RBAC permissions not currently held:\n" + "\n".join(map(str, missing))
            )
