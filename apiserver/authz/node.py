"""The Node authorizer: a node reads what its own Pods need and writes what is its own.

A node agent's identity is user system:node:NAME in group system:nodes. What it may do in general
is the list of rules below, upstream's role system:node; for some kinds that is narrowed to the
objects that Pods bound to this node refer to, kept in a graph that follows the cache of Pods.

Source: Kubernetes documentation, "Using Node Authorization"; KEP-4601 (selectors).
"""

from __future__ import annotations

from typing import Final

from apiserver.authz.attributes import DENIED, Attributes, Decision
from apiserver.authz.bootstrap_policy import NODE_RULES
from apiserver.authz.node_graph import NodeGraph
from apiserver.authz.pod_references import Reference
from apiserver.authz.rule import parse_rules
from apiserver.reader import Reader
from apiserver.user import User
from kubraft.api.fields import parse_field_selector
from kubraft.api.gvk import PERSISTENT_VOLUME, POD, RESOURCE_SLICE, VOLUME_ATTACHMENT
from kubraft.api.object import Object

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


class NodeAuthorizer:
    """Has an opinion on nodes only: None where the user is not one."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._graph = NodeGraph()
        reader.add_handler(POD, self._graph.on_change)
        reader.add_handler(PERSISTENT_VOLUME, self._graph.on_volume_change)

    def find_decision(self, attributes: Attributes) -> Decision | None:
        """The node's own permission, or None for other users."""
        if NODES_GROUP not in attributes.user.groups:
            return None
        node = node_name(attributes.user)
        if not node:
            return Decision(False, f'unknown node for user "{attributes.user.name}"')
        match attributes.group, attributes.resource:
            case "", "secrets" | "configmaps":
                return self._read_related(node, attributes)
            case ("", "persistentvolumeclaims" | "persistentvolumes") | (
                "resource.k8s.io" | "storage.k8s.io",
                "resourceclaims" | "volumeattachments",
            ):
                return self._get_related(node, attributes)
            case "", "serviceaccounts":
                return self._service_account(node, attributes)
            case "", "nodes":
                return _own_node(node, attributes)
            case "", "pods":
                return self._pod(node, attributes)
            case "coordination.k8s.io", "leases":
                return _own_lease(node, attributes)
            case "storage.k8s.io", "csinodes":
                return _own_csi_node(node, attributes)
            case "resource.k8s.io", "resourceslices":
                return self._slice(node, attributes)
        return _by_rules(attributes)

    def _read_related(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in _READS:
            return Decision(False, "can only read resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot read subresource")
        if not attributes.namespace:
            return Decision(False, "can only read namespaced object of this type")
        return self._related(node, attributes)

    def _get_related(self, node: str, attributes: Attributes) -> Decision:
        """One by one, and the status of a claim, as volumes grow."""
        if (attributes.resource, attributes.subresource) == ("persistentvolumeclaims", "status"):
            if attributes.verb not in ("update", "patch"):
                return Decision(False, "can only get/update/patch this type")
        elif attributes.verb != "get":
            return Decision(False, "can only get individual resources of this type")
        elif attributes.subresource:
            return Decision(False, "cannot get subresource")
        return self._related(node, attributes)

    def _related(self, node: str, attributes: Attributes) -> Decision:
        name = attributes.name or _selected(attributes, "metadata.name")
        if not name:
            return Decision(False, "No Object name found")
        if not self._connects(node, attributes, name):
            return Decision(False, f"no relationship found between node '{node}' and this object")
        return _ALLOWED

    def _connects(self, node: str, attributes: Attributes, name: str) -> bool:
        match attributes.resource:
            case "persistentvolumes":
                volume = self._reader.get(PERSISTENT_VOLUME, "", name)
                return self._graph.connects_volume(node, volume)
            case "volumeattachments":
                return _node_name_of(self._reader.get(VOLUME_ATTACHMENT, "", name)) == node
            case "resourceslices":
                return _node_name_of(self._reader.get(RESOURCE_SLICE, "", name)) == node
        reference = Reference(attributes.resource, attributes.namespace, name)
        return self._graph.connects(node, reference)

    def _slice(self, node: str, attributes: Attributes) -> Decision:
        if attributes.subresource:
            return Decision(False, "cannot authorize ResourceSlice subresources")
        match attributes.verb:
            case "create":  # of which node it is, NodeRestriction sees
                return _ALLOWED
            case "get" | "update" | "patch" | "delete":
                return self._related(node, attributes)
            case "list" | "watch" | "deletecollection":
                if _selected(attributes, "spec.nodeName") == node:
                    return _ALLOWED
                reason = "can only list/watch/deletecollection resourceslices with nodeName field "
                return Decision(False, f"{reason}selector")
        return Decision(
            False,
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, "
            "update, patch, delete, deletecollection",
        )

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


def _own_csi_node(node: str, attributes: Attributes) -> Decision:
    if attributes.verb not in ("get", "create", "update", "patch", "delete"):
        return Decision(False, "can only get, create, update, patch, or delete a CSINode")
    if attributes.subresource:
        return Decision(False, "cannot authorize CSINode subresources")
    if attributes.name != node and not (attributes.verb == "create" and not attributes.name):
        return Decision(False, "can only access CSINode with the same name as the requesting node")
    return _ALLOWED


def _node_name_of(obj: Object | None) -> str:
    return str(((obj or {}).get("spec") or {}).get("nodeName") or "")


def _by_rules(attributes: Attributes) -> Decision:
    return _ALLOWED if any(rule.allows(attributes) for rule in _RULES) else DENIED


def _selected(attributes: Attributes, field: str) -> str:
    try:
        selector = parse_field_selector(attributes.field_selector)
    except ValueError:
        return ""
    return selector.required(field) or ""
