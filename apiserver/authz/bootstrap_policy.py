"""The ClusterRoles and bindings that a cluster begins with, under upstream's names.

Pure data: `bootstrap_objects` lists what must exist; bootstrap.py writes it. The controller
manager runs all controllers under one identity here, so each controller's role is bound to the
controller manager's user besides the ServiceAccount that upstream would run it as.

Source: Kubernetes documentation, "Default roles and role bindings"; upstream's bootstrappolicy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from apiserver.authz import standard_roles
from kubraft.api.object import Object

RuleObject = dict[str, Any]

READ: Final = ("get", "list", "watch")
WRITE: Final = ("create", "delete", "deletecollection", "patch", "update")
READ_WRITE: Final = (*READ, *WRITE)

_RBAC: Final = "rbac.authorization.k8s.io"
_AUTHN: Final = "authentication.k8s.io"
_AUTHZ: Final = "authorization.k8s.io"
_LEASES: Final = "coordination.k8s.io"
_NAMESPACE: Final = "kube-system"

BOOTSTRAP_LABELS: Final = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTOUPDATE: Final = "rbac.authorization.kubernetes.io/autoupdate"


def _rule(
    verbs: Iterable[str], resources: str, group: str = "", names: Sequence[str] = ()
) -> RuleObject:
    """`resources` are separated by blanks; the same for several groups in `group`."""
    rule: RuleObject = {
        "apiGroups": group.split() or [""],
        "resources": resources.split(),
        "verbs": list(verbs),
    }
    if names:
        rule["resourceNames"] = list(names)
    return rule


def _urls(verbs: Iterable[str], urls: str) -> RuleObject:
    return {"nonResourceURLs": urls.split(), "verbs": list(verbs)}


_EVENTS: Final = [
    _rule(("create", "patch", "update"), "events"),
    _rule(("create", "patch", "update"), "events", "events.k8s.io"),
]

NODE_RULES: Final[list[RuleObject]] = [
    _rule(("create",), "tokenreviews", _AUTHN),
    _rule(("create",), "subjectaccessreviews localsubjectaccessreviews", _AUTHZ),
    _rule(READ, "services"),
    _rule(("create", "get", "list", "watch", "patch", "update"), "nodes"),
    _rule(("patch", "update"), "nodes/status"),
    *_EVENTS,
    _rule((*READ, "create", "delete"), "pods"),
    _rule(("patch", "update"), "pods/status"),
    _rule(("create",), "pods/eviction"),
    _rule(("get",), "persistentvolumes endpoints"),
    _rule(("get", "patch", "update"), "persistentvolumeclaims/status"),
    _rule(("create", "get", "list", "watch"), "certificatesigningrequests", "certificates.k8s.io"),
    _rule(("get",), "volumeattachments", "storage.k8s.io"),
    _rule(READ, "csidrivers", "storage.k8s.io"),
    _rule(READ, "runtimeclasses", "node.k8s.io"),
]

# What the Node authorizer gives by what a node's Pods refer to. The role has it without that bound,
# for those who bind it themselves, as upstream.
_NODE_REFERENCES: Final = [
    _rule(READ, "configmaps secrets"),
    _rule(("get",), "persistentvolumeclaims"),
    _rule(("create",), "serviceaccounts/token"),
    _rule(("create", "delete", "get", "patch", "update"), "leases", _LEASES),
    _rule(("create", "delete", "get", "patch", "update"), "csinodes", "storage.k8s.io"),
]

_VIEW_CORE: Final = "configmaps endpoints persistentvolumeclaims pods services serviceaccounts"
_VIEW_STATUS: Final = (
    "bindings events limitranges namespaces/status pods/log pods/status resourcequotas "
    "resourcequotas/status replicationcontrollers/status namespaces persistentvolumeclaims/status "
    "services/status replicationcontrollers replicationcontrollers/scale"
)
_APPS: Final = (
    "daemonsets deployments deployments/scale replicasets replicasets/scale statefulsets "
    "statefulsets/scale"
)
_VIEW_APPS: Final = (
    f"{_APPS} controllerrevisions daemonsets/status deployments/status replicasets/status "
    "statefulsets/status"
)
_VIEW: Final = [
    _rule(READ, _VIEW_CORE),
    _rule(READ, _VIEW_STATUS),
    _rule(READ, "endpointslices", "discovery.k8s.io"),
    _rule(READ, _VIEW_APPS, "apps"),
    _rule(READ, "horizontalpodautoscalers horizontalpodautoscalers/status", "autoscaling"),
    _rule(READ, "cronjobs cronjobs/status jobs jobs/status", "batch"),
    _rule(READ, "poddisruptionbudgets poddisruptionbudgets/status", "policy"),
    _rule(READ, "ingresses ingresses/status networkpolicies", "networking.k8s.io"),
]
_EDIT: Final = [
    _rule(READ, "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    _rule(("impersonate",), "serviceaccounts"),
    _rule(WRITE, "pods pods/attach pods/exec pods/portforward pods/proxy"),
    _rule(("create",), "pods/eviction"),
    _rule(
        WRITE,
        "configmaps events persistentvolumeclaims replicationcontrollers "
        "replicationcontrollers/scale secrets serviceaccounts services services/proxy",
    ),
    _rule(("create",), "serviceaccounts/token"),
    _rule(WRITE, f"{_APPS} deployments/rollback", "apps"),
    _rule(WRITE, "horizontalpodautoscalers", "autoscaling"),
    _rule(WRITE, "cronjobs jobs", "batch"),
    _rule(WRITE, "poddisruptionbudgets", "policy"),
    _rule(WRITE, "ingresses networkpolicies", "networking.k8s.io"),
    _rule(READ_WRITE, "leases", _LEASES),
]
_ADMIN: Final = [
    _rule(("create",), "localsubjectaccessreviews", _AUTHZ),
    _rule(READ_WRITE, "rolebindings roles", _RBAC),
]

_HEALTH: Final = "/healthz /livez /readyz /version /version/"

CLUSTER_ROLES: Final[dict[str, list[RuleObject]]] = {
    "cluster-admin": [_rule("*", "*", "*"), _urls("*", "*")],
    "system:discovery": [
        _urls(("get",), f"{_HEALTH} /api /api/* /apis /apis/* /openapi /openapi/*")
    ],
    "system:public-info-viewer": [_urls(("get",), _HEALTH)],
    "system:monitoring": [
        _urls(("get",), "/healthz /healthz/* /livez /livez/* /readyz /readyz/*"),
        _urls(("get",), "/metrics /metrics/slis"),
    ],
    "system:basic-user": [
        _rule(("create",), "selfsubjectaccessreviews selfsubjectrulesreviews", _AUTHZ),
        _rule(("create",), "selfsubjectreviews", _AUTHN),
    ],
    "system:service-account-issuer-discovery": [
        _urls(("get",), "/.well-known/openid-configuration /.well-known/openid-configuration/ "
              "/openid/v1/jwks /openid/v1/jwks/")
    ],
    "system:auth-delegator": [
        _rule(("create",), "tokenreviews", _AUTHN),
        _rule(("create",), "subjectaccessreviews", _AUTHZ),
    ],
    "system:node": [*NODE_RULES, *_NODE_REFERENCES],
    # Of our node agents, which have the directories of local volumes. NodeRestriction holds each
    # to the volumes of its own node, and to taking their finalizer away.
    "system:node-local-volumes": [_rule(("list", "watch", "update"), "persistentvolumes")],
    "system:node-problem-detector": [
        _rule(("get",), "nodes"),
        _rule(("patch",), "nodes/status"),
        *_EVENTS,
    ],
    "system:node-proxier": [
        _rule(("list", "watch"), "endpoints services"),
        _rule(READ, "nodes"),
        *_EVENTS,
        _rule(("list", "watch"), "endpointslices", "discovery.k8s.io"),
        _rule(("list", "watch"), "servicecidrs", "networking.k8s.io"),
    ],
    # Many nodes without machines in one process (kubemark's are system:node each): they read no
    # Secret and no ConfigMap.
    "system:hollow-nodes": [
        _rule((*READ, "create", "patch"), "nodes"),
        _rule(("patch",), "nodes/status pods/status"),
        _rule((*READ, "delete"), "pods"),
        _rule(("create", "get", "update"), "leases", _LEASES),
        *_EVENTS,
    ],
    "system:kube-dns": [_rule(("list", "watch"), "endpoints services")],
    "system:kube-scheduler": [
        *_EVENTS,
        _rule(("create",), "leases", _LEASES),
        _rule(("get", "list", "patch", "update", "watch"), "leases", _LEASES, ["kube-scheduler"]),
        _rule(READ, "nodes"),
        _rule((*READ, "delete"), "pods"),
        _rule(("create",), "bindings pods/binding"),
        _rule(("patch", "update"), "pods/status"),
        _rule(READ, "namespaces replicationcontrollers services"),
        _rule(READ, "replicasets statefulsets", "apps"),
        _rule(READ, "poddisruptionbudgets", "policy"),
        _rule((*READ, "patch", "update"), "persistentvolumeclaims persistentvolumes"),
        _rule(READ, "csidrivers csinodes csistoragecapacities storageclasses volumeattachments",
              "storage.k8s.io"),
        _rule(READ, "priorityclasses", "scheduling.k8s.io"),
        _rule(("create",), "tokenreviews", _AUTHN),
        _rule(("create",), "subjectaccessreviews", _AUTHZ),
    ],
    "system:kube-controller-manager": [
        *_EVENTS,
        _rule(("create",), "leases", _LEASES),
        _rule(("get", "list", "patch", "update", "watch"), "leases", _LEASES,
              ["kube-controller-manager"]),
        _rule(("create", "get", "update"), "secrets serviceaccounts"),
        _rule(("delete",), "secrets"),
        _rule(("get",), "namespaces configmaps"),
        _rule(("create",), "serviceaccounts/token"),
        _rule(("create",), "tokenreviews", _AUTHN),
        _rule(("create",), "subjectaccessreviews", _AUTHZ),
        _rule(("list", "watch"), "*", "*"),
    ],
}  # fmt: skip

# Each selects the roles labelled aggregate-to-NAME: its own rules, and the role before it.
AGGREGATED: Final = (("view", _VIEW), ("edit", _EDIT), ("admin", _ADMIN))

CONTROLLER_ROLES: Final[dict[str, list[RuleObject]]] = {
    "deployment-controller": [
        _rule((*READ, "update", "patch"), "deployments", "apps"),
        _rule(("update", "patch"), "deployments/status deployments/finalizers", "apps"),
        _rule((*READ, "create", "delete", "patch", "update"), "replicasets", "apps"),
        _rule((*READ, "update"), "pods"),
        *_EVENTS,
    ],
    "replicaset-controller": [
        _rule((*READ, "update"), "replicasets", "apps"),
        _rule(("update", "patch"), "replicasets/status replicasets/finalizers", "apps"),
        _rule((*READ, "create", "delete", "patch"), "pods"),
        *_EVENTS,
    ],
    "node-controller": [
        _rule((*READ, "delete", "patch", "update"), "nodes"),
        _rule(("patch", "update"), "nodes/status"),
        _rule(("patch", "update"), "pods/status"),
        _rule((*READ, "delete", "patch"), "pods"),
        _rule(READ, "leases", _LEASES),
        *_EVENTS,
    ],
    "generic-garbage-collector": [
        _rule((*READ, "delete", "patch", "update"), "*", "*"),
        *_EVENTS,
    ],
    "namespace-controller": [
        _rule((*READ, "delete"), "namespaces"),
        _rule(("update", "patch"), "namespaces/finalize namespaces/status"),
        _rule((*READ, "delete", "deletecollection"), "*", "*"),
    ],
    "service-account-controller": [
        _rule(("create",), "serviceaccounts"),
        *_EVENTS,
    ],
    "root-ca-cert-publisher": [
        _rule(("create", "update"), "configmaps"),
        *_EVENTS,
    ],
    "resourcequota-controller": [
        _rule(("list", "watch"), "*", "*"),
        _rule(("update", "patch"), "resourcequotas/status"),
        *_EVENTS,
    ],
    # Ours, beside the rules of system:persistent-volume-provisioner.
    "local-volume-provisioner": [
        _rule((*READ, "create", "delete", "update"), "persistentvolumes"),
        _rule((*READ, "update"), "persistentvolumeclaims"),
        _rule(("update",), "persistentvolumeclaims/status"),
        _rule((*READ, "create"), "storageclasses", "storage.k8s.io"),
        _rule(("get",), "nodes"),
        *_EVENTS,
    ],
    "pod-garbage-collector": [
        _rule((*READ, "delete"), "pods"),
        _rule(("get", "list"), "nodes"),
        _rule(("patch", "update"), "pods/status"),
    ],
    "endpointslice-controller": [
        _rule(READ, "services pods nodes"),
        _rule(("update",), "services/finalizers"),
        _rule((*READ, "create", "update", "delete"), "endpointslices", "discovery.k8s.io"),
        *_EVENTS,
    ],
    "clusterrole-aggregation-controller": [
        _rule(("escalate", *READ, "patch", "update"), "clusterroles", _RBAC),
    ],
}  # fmt: skip

_AUTHENTICATED: Final = ("Group", "system:authenticated")
_CONTROLLER_MANAGER: Final = ("User", "system:kube-controller-manager")

# Role name: subjects. The Node authorizer stands in for a binding of system:node, as upstream.
BINDINGS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "cluster-admin": (("Group", "system:masters"),),
    "system:discovery": (_AUTHENTICATED,),
    "system:basic-user": (_AUTHENTICATED,),
    "system:public-info-viewer": (_AUTHENTICATED, ("Group", "system:unauthenticated")),
    "system:monitoring": (("Group", "system:monitoring"),),
    "system:service-account-issuer-discovery": (("Group", "system:serviceaccounts"),),
    "system:node": (),
    "system:node-local-volumes": (("Group", "system:nodes"),),
    "system:node-proxier": (("User", "system:kube-proxy"),),
    "system:hollow-nodes": (("User", "system:hollow-nodes"),),
    "system:kube-dns": (("ServiceAccount", "kube-dns"),),
    "system:kube-scheduler": (("User", "system:kube-scheduler"),),
    "system:kube-controller-manager": (_CONTROLLER_MANAGER,),
    "system:metrics-server": (("User", "system:metrics-server"),),
    "system:coredns": (("User", "system:coredns"),),
    "system:cloud-controller-manager": (("User", "system:cloud-controller-manager"),),
}


def bootstrap_objects() -> list[Object]:
    """Every ClusterRole and ClusterRoleBinding that must exist, roles first."""
    roles = {**CLUSTER_ROLES, **standard_roles.CLUSTER_ROLES}
    objects = [_cluster_role(name, rules) for name, rules in roles.items()]
    rules: list[RuleObject] = []
    for index, (name, own) in enumerate(AGGREGATED):
        rules = [*rules, *own]
        objects.append(_cluster_role(f"system:aggregate-to-{name}", own, aggregate_to=name))
        following = [above for above, _ in AGGREGATED[index + 1 : index + 2]]
        role = _cluster_role(name, rules, aggregate_to="".join(following))
        selector = {"matchLabels": {f"{_RBAC}/aggregate-to-{name}": "true"}}
        objects.append({**role, "aggregationRule": {"clusterRoleSelectors": [selector]}})
    objects.append(_metrics_reader())
    controllers = {**standard_roles.CONTROLLER_ROLES, **CONTROLLER_ROLES}
    for name, rules in controllers.items():
        objects.append(_cluster_role(f"system:controller:{name}", rules))
    objects += [_binding(role, subjects) for role, subjects in BINDINGS.items()]
    for name in controllers:
        subjects: tuple[tuple[str, str], ...] = (("ServiceAccount", name),)
        # Ours run as the controller manager.
        if name in CONTROLLER_ROLES or name in standard_roles.RUN_BY_MANAGER:
            subjects = (*subjects, _CONTROLLER_MANAGER)
        objects.append(_binding(f"system:controller:{name}", subjects))
    objects += _namespaced()
    return objects


def _metrics_reader() -> Object:
    """Whoever may view may see usage. Source: metrics-server's manifests."""
    role = _cluster_role(
        "system:aggregated-metrics-reader", [_rule(READ, "pods nodes", "metrics.k8s.io")]
    )
    to = {f"{_RBAC}/aggregate-to-{name}": "true" for name, _ in AGGREGATED}
    metadata = role["metadata"]
    return {**role, "metadata": {**metadata, "labels": {**metadata["labels"], **to}}}


def _namespaced() -> list[Object]:
    """The Roles and RoleBindings of the system's namespaces."""
    objects: list[Object] = []
    for namespace, roles in standard_roles.ROLES.items():
        for name, rules in roles.items():
            role = _cluster_role(name, rules)
            metadata = {**role["metadata"], "namespace": namespace}
            objects.append({**role, "kind": "Role", "metadata": metadata})
    for namespace, name, role_name, subjects in standard_roles.ROLE_BINDINGS:
        bound = _binding(name, subjects)
        metadata = {**bound["metadata"], "namespace": namespace}
        ref = {"apiGroup": _RBAC, "kind": "Role", "name": role_name}
        objects.append({**bound, "kind": "RoleBinding", "metadata": metadata, "roleRef": ref})
    return objects


def _metadata(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "labels": {**BOOTSTRAP_LABELS, **labels},
        "annotations": {AUTOUPDATE: "true"},
    }


def _cluster_role(name: str, rules: list[RuleObject], *, aggregate_to: str = "") -> Object:
    labels = {f"{_RBAC}/aggregate-to-{aggregate_to}": "true"} if aggregate_to else {}
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": _metadata(name, labels),
        "rules": rules,
    }


def _binding(role: str, subjects: Iterable[tuple[str, str]]) -> Object:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _metadata(role, {}),
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [_subject(kind, name) for kind, name in subjects],
    }


def _subject(kind: str, name: str) -> dict[str, str]:
    if kind == "ServiceAccount":
        return {"kind": kind, "name": name, "namespace": _NAMESPACE}
    return {"apiGroup": _RBAC, "kind": kind, "name": name}
