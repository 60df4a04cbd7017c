"""Default roles that upstream has for parts that a cluster of ours may or may not run.

Whoever brings such a part (a cloud's controllers, kubeadm's way to join, a metrics server) finds
the role that its manifests bind. Pure data; bootstrap_policy.py makes objects of it.

Source: Kubernetes documentation, "Default roles and role bindings"; upstream's bootstrappolicy.
"""

from __future__ import annotations

from typing import Any, Final

RuleObject = dict[str, Any]

_READ: Final = ("get", "list", "watch")
_SYSTEM: Final = "kube-system"
_PUBLIC: Final = "kube-public"


def _rule(verbs: str, resources: str, group: str = "", names: str = "") -> RuleObject:
    """All are separated by blanks; `read` among the verbs is get, list and watch."""
    expanded = [v for verb in verbs.split() for v in (_READ if verb == "read" else (verb,))]
    rule: RuleObject = {
        "apiGroups": [group],
        "resources": resources.split(),
        "verbs": list(dict.fromkeys(expanded)),
    }
    if names:
        rule["resourceNames"] = names.split()
    return rule


_EVENTS: Final = [
    _rule("create patch update", "events"),
    _rule("create patch update", "events", "events.k8s.io"),
]
_CERTIFICATES: Final = "certificates.k8s.io"
_STORAGE: Final = "storage.k8s.io"
_SIGNERS: Final = ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving")

CLUSTER_ROLES: Final[dict[str, list[RuleObject]]] = {
    "system:heapster": [
        _rule("read", "events pods nodes namespaces"),
        _rule("read", "deployments", "extensions"),
    ],
    "system:kube-aggregator": [_rule("read", "services endpoints")],
    "system:kubelet-api-admin": [
        _rule("read proxy", "nodes"),
        _rule("*", "nodes/proxy nodes/metrics nodes/stats nodes/log nodes/spec nodes/pods "
              "nodes/healthz nodes/configz"),
    ],
    # Of our metrics server, which makes itself known to the API server.
    "system:metrics-server": [
        _rule("get", "nodes/metrics"),
        _rule("read", "pods nodes"),
        _rule("create", "tokenreviews", "authentication.k8s.io"),
        _rule("create", "subjectaccessreviews", "authorization.k8s.io"),
        _rule("create", "apiservices", "apiregistration.k8s.io"),
        _rule("get update", "apiservices", "apiregistration.k8s.io", "v1beta1.metrics.k8s.io"),
    ],
    # Of our name server, under the name of CoreDNS' own, which has Endpoints for EndpointSlices.
    # As upstream's manifests have it, but for the objects that no controller of ours touches.
    "system:cloud-controller-manager": [
        *_EVENTS,
        _rule("read update patch delete", "nodes"),
        _rule("patch update", "nodes/status"),
        _rule("read update patch", "services"),
        _rule("patch update", "services/status services/finalizers"),
        # Of its port, as upstream's by system:auth-delegator.
        _rule("create", "tokenreviews", "authentication.k8s.io"),
        _rule("create", "subjectaccessreviews", "authorization.k8s.io"),
    ],
    "system:coredns": [
        _rule("list watch", "services namespaces"),
        _rule("list watch", "endpointslices", "discovery.k8s.io"),
    ],
    "system:node-bootstrapper": [
        _rule("create read", "certificatesigningrequests", _CERTIFICATES)
    ],
    "system:persistent-volume-provisioner": [
        _rule("read create delete", "persistentvolumes"),
        _rule("read update", "persistentvolumeclaims"),
        _rule("read", "storageclasses", _STORAGE),
        _rule("watch", "events"),
        *_EVENTS,
    ],
    "system:volume-scheduler": [
        _rule("read patch update", "persistentvolumes persistentvolumeclaims"),
        _rule("read", "storageclasses", _STORAGE),
    ],
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": [
        _rule("create", "certificatesigningrequests/nodeclient", _CERTIFICATES)
    ],
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": [
        _rule("create", "certificatesigningrequests/selfnodeclient", _CERTIFICATES)
    ],
    "system:certificates.k8s.io:legacy-unknown-approver": [
        _rule("approve", "signers", _CERTIFICATES, "kubernetes.io/legacy-unknown")
    ],
    **{
        f"system:certificates.k8s.io:{signer}-approver": [
            _rule("approve", "signers", _CERTIFICATES, f"kubernetes.io/{signer}")
        ]
        for signer in _SIGNERS
    },
}  # fmt: skip

_BATCH: Final = "batch"
_JOBS: Final = _rule("read update patch", "jobs", _BATCH)

# Those of the roles below whose controllers our controller manager runs.
RUN_BY_MANAGER: Final = frozenset(
    {
        "certificate-controller",
        "cronjob-controller",
        "daemon-set-controller",
        "disruption-controller",
        "endpoint-controller",
        "horizontal-pod-autoscaler",
        "endpointslicemirroring-controller",
        "ephemeral-volume-controller",
        "job-controller",
        "persistent-volume-binder",
        "pv-protection-controller",
        "pvc-protection-controller",
        "replication-controller",
        "statefulset-controller",
        "ttl-after-finished-controller",
    }
)

CONTROLLER_ROLES: Final[dict[str, list[RuleObject]]] = {
    "attachdetach-controller": [
        _rule("list watch", "persistentvolumes persistentvolumeclaims"),
        _rule("read", "nodes"),
        _rule("patch update", "nodes/status"),
        _rule("list watch", "pods"),
        _rule("create delete read patch", "volumeattachments", _STORAGE),
        _rule("read", "csidrivers csinodes", _STORAGE),
        *_EVENTS,
    ],
    "certificate-controller": [
        _rule("read delete", "certificatesigningrequests", _CERTIFICATES),
        _rule("update", "certificatesigningrequests/status certificatesigningrequests/approval",
              _CERTIFICATES),
        _rule("approve", "signers", _CERTIFICATES, "kubernetes.io/kube-apiserver-client-kubelet"),
        _rule("sign", "signers", _CERTIFICATES,
              "kubernetes.io/legacy-unknown " + " ".join(f"kubernetes.io/{s}" for s in _SIGNERS)),
        _rule("create", "subjectaccessreviews", "authorization.k8s.io"),
        *_EVENTS,
    ],
    "cronjob-controller": [
        _rule("read update patch", "cronjobs", _BATCH),
        _rule("read create update delete patch", "jobs", _BATCH),
        _rule("update patch", "cronjobs/status cronjobs/finalizers", _BATCH),
        _rule("list delete", "pods"),
        *_EVENTS,
    ],
    "daemon-set-controller": [
        _rule("read update", "daemonsets", "apps"),
        _rule("update patch", "daemonsets/status daemonsets/finalizers", "apps"),
        _rule("list watch", "nodes"),
        _rule("read create delete patch", "pods"),
        _rule("create", "pods/binding"),
        _rule("read create delete update patch", "controllerrevisions", "apps"),
        *_EVENTS,
    ],
    "disruption-controller": [
        _rule("read", "deployments replicasets statefulsets", "apps"),
        _rule("read", "replicationcontrollers"),
        _rule("read", "poddisruptionbudgets", "policy"),
        _rule("read", "pods"),
        _rule("patch update", "pods/status"),
        _rule("update patch", "poddisruptionbudgets/status", "policy"),
        _rule("get", "*/scale", "*"),
        *_EVENTS,
    ],
    "endpoint-controller": [
        _rule("read", "pods services"),
        _rule("read create update delete", "endpoints"),
        _rule("create", "endpoints/restricted"),
        *_EVENTS,
    ],
    "endpointslicemirroring-controller": [
        _rule("read", "services endpoints"),
        _rule("update", "services/finalizers endpoints/finalizers"),
        _rule("read create update delete", "endpointslices", "discovery.k8s.io"),
        _rule("create", "endpointslices/restricted", "discovery.k8s.io"),
        *_EVENTS,
    ],
    "ephemeral-volume-controller": [
        _rule("update", "pods/finalizers"),
        _rule("read", "pods"),
        _rule("read create", "persistentvolumeclaims"),
        *_EVENTS,
    ],
    "expand-controller": [
        _rule("read patch update", "persistentvolumes"),
        _rule("patch update", "persistentvolumeclaims/status"),
        _rule("read", "persistentvolumeclaims"),
        *_EVENTS,
    ],
    "horizontal-pod-autoscaler": [
        _rule("read", "horizontalpodautoscalers", "autoscaling"),
        _rule("update patch", "horizontalpodautoscalers/status", "autoscaling"),
        _rule("get update patch", "*/scale", "*"),
        _rule("list", "pods"),
        _rule("list", "pods", "metrics.k8s.io"),
        _rule("get list", "*", "custom.metrics.k8s.io"),
        _rule("get list", "*", "external.metrics.k8s.io"),
        *_EVENTS,
    ],
    "job-controller": [
        _JOBS,
        _rule("update patch", "jobs/status jobs/finalizers", _BATCH),
        _rule("read create delete patch", "pods"),
        *_EVENTS,
    ],
    "legacy-service-account-token-cleaner": [
        _rule("get", "configmaps", "", "kube-apiserver-legacy-service-account-token-tracking"),
        _rule("patch delete", "secrets"),
    ],
    "persistent-volume-binder": [
        _rule("read create update delete", "persistentvolumes"),
        _rule("update patch", "persistentvolumes/status persistentvolumeclaims/status"),
        _rule("read update", "persistentvolumeclaims"),
        _rule("read create delete", "pods"),
        _rule("read", "storageclasses", _STORAGE),
        _rule("get create update delete", "services endpoints"),
        _rule("get", "secrets"),
        *_EVENTS,
    ],
    "pv-protection-controller": [_rule("read update", "persistentvolumes"), *_EVENTS],
    "pvc-protection-controller": [
        _rule("read update", "persistentvolumeclaims"),
        _rule("read", "pods"),
        *_EVENTS,
    ],
    "replication-controller": [
        _rule("read update", "replicationcontrollers"),
        _rule("update patch", "replicationcontrollers/status replicationcontrollers/finalizers"),
        _rule("read create delete patch", "pods"),
        *_EVENTS,
    ],
    "resource-claim-controller": [
        _rule("read update", "pods"),
        _rule("update", "pods/finalizers"),
        _rule("patch", "pods/status"),
        _rule("read create delete update patch", "resourceclaims", "resource.k8s.io"),
        _rule("update patch", "resourceclaims/status", "resource.k8s.io"),
        *_EVENTS,
    ],
    "route-controller": [
        _rule("list watch", "nodes"),
        _rule("patch update", "nodes/status"),
        *_EVENTS,
    ],
    "selinux-warning-controller": [
        _rule("read", "persistentvolumeclaims persistentvolumes pods"),
        _rule("read", "csidrivers", _STORAGE),
        *_EVENTS,
    ],
    "service-cidrs-controller": [
        _rule("read patch update", "servicecidrs", "networking.k8s.io"),
        _rule("patch update", "servicecidrs/finalizers servicecidrs/status", "networking.k8s.io"),
        _rule("read", "ipaddresses", "networking.k8s.io"),
        *_EVENTS,
    ],
    "service-controller": [
        _rule("read", "services"),
        _rule("patch update", "services/status services/finalizers"),
        _rule("list watch", "nodes"),
        *_EVENTS,
    ],
    "statefulset-controller": [
        _rule("list watch", "pods"),
        _rule("read", "statefulsets", "apps"),
        _rule("update patch", "statefulsets/status statefulsets/finalizers", "apps"),
        _rule("get create delete update patch", "pods"),
        _rule("read create delete update patch", "controllerrevisions", "apps"),
        _rule("read create delete update", "persistentvolumeclaims"),
        *_EVENTS,
    ],
    "ttl-after-finished-controller": [_rule("read delete", "jobs", _BATCH), *_EVENTS],
    "ttl-controller": [_rule("update patch list watch", "nodes"), *_EVENTS],
    "validatingadmissionpolicy-status-controller": [
        _rule("read", "validatingadmissionpolicies", "admissionregistration.k8s.io"),
        _rule("patch get update", "validatingadmissionpolicies/status",
              "admissionregistration.k8s.io"),
        *_EVENTS,
    ],
    "volumeattributesclass-protection-controller": [
        _rule("read update", "volumeattributesclasses", _STORAGE),
        _rule("read", "persistentvolumeclaims persistentvolumes"),
        *_EVENTS,
    ],
}  # fmt: skip

_LEASES: Final = "coordination.k8s.io"


def _leader(name: str) -> list[RuleObject]:
    return [
        _rule("watch", "configmaps"),
        _rule("get update", "configmaps", "", name),
        _rule("watch", "leases", _LEASES),
        _rule("get update", "leases", _LEASES, name),
    ]


# By namespace, then by name: rules, and the subjects of the binding of the same name.
ROLES: Final[dict[str, dict[str, list[RuleObject]]]] = {
    _SYSTEM: {
        "extension-apiserver-authentication-reader": [
            _rule("read", "configmaps", "", "extension-apiserver-authentication")
        ],
        "system::leader-locking-kube-controller-manager": _leader("kube-controller-manager"),
        "system::leader-locking-kube-scheduler": _leader("kube-scheduler"),
        "system:metrics-server": [
            _rule("create", "services"),
            _rule("get update", "services", "", "metrics-server"),
        ],
        "system:cloud-controller-manager": [
            _rule("create", "leases", _LEASES),
            _rule("get update", "leases", _LEASES, "cloud-controller-manager"),
        ],
        # The Service by which it is reached, which it keeps itself.
        "system:coredns": [
            _rule("create", "services"),
            _rule("get update", "services", "", "kube-dns"),
            _rule("create", "endpointslices", "discovery.k8s.io"),
            _rule("get update", "endpointslices", "discovery.k8s.io", "kube-dns"),
        ],
        "system:controller:bootstrap-signer": [_rule("read", "secrets")],
        "system:controller:cloud-provider": [_rule("create read update", "configmaps")],
        "system:controller:token-cleaner": [_rule("read delete", "secrets"), *_EVENTS],
    },
    _PUBLIC: {
        "system:controller:bootstrap-signer": [
            _rule("read", "configmaps"),
            _rule("update", "configmaps", "", "cluster-info"),
            *_EVENTS,
        ],
    },
}

_MANAGER: Final = ("User", "system:kube-controller-manager")
_SCHEDULER: Final = ("User", "system:kube-scheduler")


def _manager(name: str) -> tuple[tuple[str, str], ...]:
    return (_MANAGER, ("ServiceAccount", name))


# Namespace, name of the binding, name of its role, subjects.
ROLE_BINDINGS: Final[tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...]] = (
    (_SYSTEM, "system::extension-apiserver-authentication-reader",
     "extension-apiserver-authentication-reader", (_MANAGER, _SCHEDULER)),
    (_SYSTEM, "system:metrics-server", "system:metrics-server",
     (("User", "system:metrics-server"),)),
    (_SYSTEM, "system:cloud-controller-manager", "system:cloud-controller-manager",
     (("User", "system:cloud-controller-manager"),)),
    (_SYSTEM, "system:coredns", "system:coredns", (("User", "system:coredns"),)),
    (_SYSTEM, "system::leader-locking-kube-controller-manager",
     "system::leader-locking-kube-controller-manager", _manager("kube-controller-manager")),
    (_SYSTEM, "system::leader-locking-kube-scheduler",
     "system::leader-locking-kube-scheduler", (_SCHEDULER, ("ServiceAccount", "kube-scheduler"))),
    *(
        (namespace, f"system:controller:{name}", f"system:controller:{name}",
         (("ServiceAccount", name),))
        for namespace, name in (
            (_SYSTEM, "bootstrap-signer"), (_SYSTEM, "cloud-provider"), (_SYSTEM, "token-cleaner"),
            (_PUBLIC, "bootstrap-signer"),
        )
    ),
)  # fmt: skip
