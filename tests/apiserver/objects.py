"""Short ways to write the objects that tests of the pipeline need."""

from __future__ import annotations

from typing import Any

from apiserver.user import User
from kubraft.api.object import Object

RBAC_GROUP = "rbac.authorization.k8s.io"


def namespaced(kind: str, name: str, namespace: str = "shop", **fields: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, **fields.pop("metadata", {})},
        **fields,
    }


def cluster_scoped(kind: str, name: str, **fields: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, **fields.pop("metadata", {})},
        **fields,
    }


def rule(verbs: str, resources: str, group: str = "", names: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {
        "verbs": verbs.split(),
        "resources": resources.split(),
        "apiGroups": group.split() or [""],
    }
    return {**made, "resourceNames": names.split()} if names else made


def role(name: str, *rules: dict[str, Any], namespace: str = "shop") -> Object:
    return {
        "apiVersion": f"{RBAC_GROUP}/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": list(rules),
    }


def cluster_role(name: str, *rules: dict[str, Any], **fields: Any) -> Object:
    return {
        "apiVersion": f"{RBAC_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": fields.pop("labels", {})},
        "rules": list(rules),
        **fields,
    }


def binding(role_name: str, *subjects: str, namespace: str = "", kind: str = "") -> Object:
    """`subjects` are "User/x", "Group/x" or "ServiceAccount/ns/x"; no namespace: cluster-wide."""
    metadata = {"name": f"{role_name}-binding"}
    if namespace:
        metadata["namespace"] = namespace
    return {
        "apiVersion": f"{RBAC_GROUP}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": kind or "ClusterRole", "name": role_name},
        "subjects": [_subject(text) for text in subjects],
    }


def _subject(text: str) -> dict[str, str]:
    kind, _, name = text.partition("/")
    if kind != "ServiceAccount":
        return {"kind": kind, "name": name, "apiGroup": RBAC_GROUP}
    namespace, _, name = name.partition("/")
    return {"kind": kind, "name": name, **({"namespace": namespace} if namespace else {})}


def user(name: str, *groups: str) -> User:
    return User(name, groups=(*groups, "system:authenticated"))


MASTER = user("kubernetes-admin", "system:masters")
NODE_0 = user("system:node:node-0", "system:nodes")
