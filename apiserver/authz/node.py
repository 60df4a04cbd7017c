"""The Node authorizer: a node reads what its own Pods need and writes what is its own.

A node agent's identity is user system:node:NAME in group system:nodes. What it may do in general
is the list of rules below, upstream's role system:node; for some kinds that is narrowed to the
objects that Pods bound to this node refer to, kept in a graph that follows the cache of Pods.

Source: Kubernetes documentation, "Using Node Authorization"; KEP-4601 (selectors).
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from apiserver.authz.attributes import DENIED, Attributes, Decision
from apiserver.authz.bootstrap_policy import NODE_RULES
from apiserver.authz.pod_references import Reference, references_of
from apiserver.authz.rule import parse_rules
from apiserver.reader import Reader
from apiserver.user import User
from kubraft.api.fields import parse_field_selector
from kubraft.api.gvk import POD
from kubraft.api.object import Object
from kubraft.api.pods import node_of

NODES_GROUP: Final = "system:nodes"
NODE_USER_PREFIX: Final = "system:node:"
NODE_LEASE_NAMESPACE: Final = "kube-node-lease"

_READS: Final = frozenset({"get", "list", "watch"})
_RULES: Final = parse_rules(NODE_RULES)
_ALLOWED: Final = Decision(True)


def is_node(user: User) -> bool:
    """Whether `user` claims to be a node agent."""
    return NODES_GROUP in user.groups and user.name.startswith(NODE_USER_PREFIX)


def node_name(user: User) -> str:
    """The node for which `user` speaks, or "" where it is none."""
    return user.name.removeprefix(NODE_USER_PREFIX) if is_node(user) else ""


class NodeGraph:
    """For each node, the objects that its Pods refer to, counted by Pod."""

    def __init__(self) -> None:
        self._references: dict[str, Counter[Reference]] = {}

    def on_change(self, old: Object | None, new: Object | None) -> None:
        """Follow one change of a Pod; ignores those that change neither node nor references."""
        before, after = _bound_references(old), _bound_references(new)
        if before == after:
            return
        for node, references in before:
            counter = self._references[node]
            counter.subtract(references)
            for reference in references:
                if counter[reference] <= 0:
                    del counter[reference]
            if not counter:
                del self._references[node]
        for node, references in after:
            self._references.setdefault(node, Counter()).update(references)

    def connects(self, node: str, reference: Reference) -> bool:
        """Whether a Pod bound to `node` refers to the object."""
        return reference in self._references.get(node, ())


def _bound_references(pod: Object | None) -> list[tuple[str, frozenset[Reference]]]:
    if pod is None or not node_of(pod):
        return []
    return [(node_of(pod), references_of(pod))]


class NodeAuthorizer:
    """Has an opinion on nodes only: None where the user is not one."""

    def __init__(self, reader: Reader) -> None:
        self._graph = NodeGraph()
        reader.add_handler(POD, self._graph.on_change)

    def find_decision(self, attributes: Attributes) -> Decision | None:
        """The node's own permission, or None for other users."""
        if NODES_GROUP not in attributes.user.groups:
            return None
        node = node_name(attributes.user)
        if not node:
            return Decision(False, f'unknown node for user "{attributes.user.name}"')
        match attributes.group, attributes.resource:
            case ("", "secrets" | "configmaps" | "persistentvolumeclaims") if (
                not attributes.subresource
            ):
                return self._read_related(node, attributes)
            case "", "serviceaccounts":
                return self._service_account(node, attributes)
            case "", "nodes":
                return _own_node(node, attributes)
            case "", "pods":
                return self._pod(node, attributes)
            case "coordination.k8s.io", "leases":
                return _own_lease(node, attributes)
        return _by_rules(attributes)

    def _read_related(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in _READS:
            return Decision(False, "can only read resources of this type")
        return self._related(node, attributes)

    def _related(self, node: str, attributes: Attributes) -> Decision:
        name = attributes.name or _selected(attributes, "metadata.name")
        if not name:
            return Decision(False, "No Object name found")
        reference = Reference(attributes.resource, attributes.namespace, name)
        if not self._graph.connects(node, reference):
            return Decision(False, f"no relationship found between node '{node}' and this object")
        return _ALLOWED

    def _service_account(self, node: str, attributes: Attributes) -> Decision:
        if (attributes.verb, attributes.subresource) == ("get", ""):
            return self._related(node, attributes)
        if (attributes.verb, attributes.subresource) != ("create", "token"):
            return Decision(False, "can only create tokens for individual service accounts")
        return self._related(node, attributes)

    def _pod(self, node: str, attributes: Attributes) -> Decision:
        if not attributes.subresource and attributes.verb in _READS:
            if attributes.verb == "get":
                return self._related(node, attributes)
            if _selected(attributes, "spec.nodeName") != node:
                return Decision(False, "can only list/watch pods with spec.nodeName field selector")
        return _by_rules(attributes)


def _own_node(node: str, attributes: Attributes) -> Decision:
    if attributes.verb != "create" or attributes.name:
        name = attributes.name or _selected(attributes, "metadata.name")
        if name != node:
            return Decision(
                False,
                f"node '{node}' cannot {_verb_word(attributes)} '{name}', only its own Node object",
            )
    return _by_rules(attributes)


def _verb_word(attributes: Attributes) -> str:
    return "read" if attributes.verb in _READS else attributes.verb


def _own_lease(node: str, attributes: Attributes) -> Decision:
    if attributes.verb not in ("get", "create", "update", "patch", "delete"):
        return Decision(False, "can only get, create, update, patch, or delete a node lease")
    if attributes.namespace != NODE_LEASE_NAMESPACE:
        return Decision(
            False, f'can only access leases in the "{NODE_LEASE_NAMESPACE}" system namespace'
        )
    if attributes.name != node and not (attributes.verb == "create" and not attributes.name):
        return Decision(
            False, "can only access node lease with the same name as the requesting node"
        )
    return _ALLOWED


def _by_rules(attributes: Attributes) -> Decision:
    return _ALLOWED if any(rule.allows(attributes) for rule in _RULES) else DENIED


def _selected(attributes: Attributes, field: str) -> str:
    try:
        selector = parse_field_selector(attributes.field_selector)
    except ValueError:
        return ""
    return selector.required(field) or ""
