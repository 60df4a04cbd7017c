"""ClusterRoles that are made of others: their rules are those of all roles that they select.

Source: Kubernetes documentation, "Aggregated ClusterRoles"; kube-controller-manager's
clusterrole-aggregation-controller.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agents.controllers.context import Context
from kubraft.api.gvk import CLUSTER_ROLE
from kubraft.api.labels import LabelSelector, selector_from_object
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, labels_of
from kubraft.client.controller import Controller


class ClusterRoleAggregation:
    """Reconciles one aggregated ClusterRole at a time, by its name."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._roles = context.informers.of(CLUSTER_ROLE)
        self._controller = Controller(
            "clusterrole-aggregation-controller", self.reconcile, workers=1, clock=context.clock
        )
        self._roles.add_handler(self._on_role)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, name: str) -> float | None:
        """Give the role the rules of those that it selects, where it has others."""
        role = self._roles.get(ObjectKey("", name))
        if role is None or is_terminating(role) or not selectors_of(role):
            return None
        rules = aggregated_rules(role, self._roles.list())
        if rules != (role.get("rules") or []):
            await self._client.update({**role, "rules": rules})
        return None

    def _on_role(self, _old: Object | None, _new: Object | None) -> None:
        """Any role may be part of any that aggregates; there are few of these."""
        for role in self._roles.list():
            if selectors_of(role):
                self._controller.queue.add(key_of(role).name)


def selectors_of(role: Object) -> list[LabelSelector]:
    """What a role selects; a selector that cannot be read selects nothing."""
    found = []
    for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
        try:
            found.append(selector_from_object(selector))
        except ValueError:
            continue
    return found


def aggregated_rules(role: Object, roles: Iterable[Object]) -> list[dict[str, Any]]:
    """The rules of the roles that `role` selects, by name, each rule once. Pure."""
    selectors, own = selectors_of(role), role["metadata"]["name"]
    chosen = [
        other
        for other in sorted(roles, key=lambda other: str(other["metadata"]["name"]))
        if other["metadata"]["name"] != own
        and any(selector.matches(labels_of(other)) for selector in selectors)
    ]
    rules: list[dict[str, Any]] = []
    for other in chosen:
        rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules
