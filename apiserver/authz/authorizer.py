"""The chain of authorizers: system:masters, then Node, then RBAC; the first yes counts."""

from __future__ import annotations

from typing import Any, Final

from apiserver.authz.attributes import Attributes, Decision
from apiserver.authz.node import NodeAuthorizer
from apiserver.authz.rbac import RbacAuthorizer
from apiserver.authz.rule import Rule
from apiserver.reader import Reader
from apiserver.user import User

PRIVILEGED_GROUP: Final = "system:masters"

_ALL_ALLOWED: Final = Decision(True, f"{PRIVILEGED_GROUP} may do all")


class Authorizer:
    """May this user do this? Does no I/O; follows the watch cache through the reader."""

    def __init__(self, reader: Reader) -> None:
        self._rbac = RbacAuthorizer(reader)
        self._node = NodeAuthorizer(reader)

    def authorize(self, attributes: Attributes) -> Decision:
        """The decision; what it denies, `forbidden_error` says to the user."""
        if PRIVILEGED_GROUP in attributes.user.groups:
            return _ALL_ALLOWED
        own = self._node.find_decision(attributes)
        if own is not None and own.allowed:
            return own
        granted = self._rbac.authorize(attributes)
        return own if own is not None and not granted.allowed else granted

    def rules_of(self, user: User, namespace: str) -> list[Rule]:
        """The RBAC rules that `user` holds in `namespace` ("": everywhere)."""
        return self._rbac.rules_of(user, namespace)

    def find_role_rules(self, role_ref: dict[str, Any], namespace: str) -> tuple[Rule, ...] | None:
        """The rules of the role that a binding in `namespace` refers to, or None."""
        return self._rbac.find_role_rules(role_ref, namespace)
