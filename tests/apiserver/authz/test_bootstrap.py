import copy

import pytest

from apiserver.authz import Attributes, Authorizer
from apiserver.authz.bootstrap import ensure_bootstrap_policy, reconciled
from apiserver.authz.bootstrap_policy import AUTOUPDATE, bootstrap_objects
from apiserver.user import User
from kubraft.api.gvk import CLUSTER_ROLE
from kubraft.api.object import Object
from tests.apiserver.memory import MemoryCluster, MemoryWriter


def wanted(name: str, kind: str = "ClusterRole") -> Object:
    return next(
        o for o in bootstrap_objects() if (o["kind"], o["metadata"]["name"]) == (kind, name)
    )


async def test_an_empty_cluster_gets_all_and_a_second_start_writes_nothing() -> None:
    cluster = MemoryCluster()
    writer = MemoryWriter(cluster)
    assert await ensure_bootstrap_policy(cluster, writer) == len(bootstrap_objects())
    assert await ensure_bootstrap_policy(cluster, writer) == 0
    decision = Authorizer(cluster).authorize(
        Attributes(User("system:kube-scheduler"), "watch", resource="pods")
    )
    assert decision.allowed


async def test_two_servers_may_start_at_once() -> None:
    cluster = MemoryCluster()
    cluster.hold_cache = True  # neither sees what the other wrote
    writer = MemoryWriter(cluster)
    await ensure_bootstrap_policy(cluster, writer)
    assert await ensure_bootstrap_policy(cluster, writer) == 0
    assert len(cluster.stored[CLUSTER_ROLE]) == len(
        [o for o in bootstrap_objects() if o["kind"] == "ClusterRole"]
    )


def test_what_was_taken_away_comes_back_and_what_was_added_stays() -> None:
    role = wanted("system:basic-user")
    changed = copy.deepcopy(role)
    own = {"apiGroups": [""], "resources": ["widgets"], "verbs": ["get"]}
    changed["rules"] = [changed["rules"][0], own]
    mended = reconciled(changed, role)
    assert mended is not None
    assert mended["rules"] == [*changed["rules"], role["rules"][1]]


def test_a_subject_that_was_taken_away_comes_back() -> None:
    bound = wanted("system:discovery", "ClusterRoleBinding")
    changed = {**bound, "subjects": [{"kind": "User", "name": "ada"}]}
    mended = reconciled(changed, bound)
    assert mended is not None
    assert mended["subjects"] == [*changed["subjects"], *bound["subjects"]]


@pytest.mark.parametrize("name", ["cluster-admin", "admin", "system:node"])
def test_what_is_whole_is_not_written(name: str) -> None:
    assert reconciled(wanted(name), wanted(name)) is None


def test_who_switched_reconciling_off_is_left_alone() -> None:
    role = wanted("edit")
    changed = copy.deepcopy(role)
    changed["metadata"]["annotations"] = {AUTOUPDATE: "false"}
    changed["rules"] = []
    changed["aggregationRule"] = None
    assert reconciled(changed, role) is None


def test_no_rule_names_a_thing_twice_and_all_names_are_unique() -> None:
    objects = bootstrap_objects()
    names = [
        (o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in objects
    ]
    assert len(names) == len(set(names))
    for obj in objects:
        for rule in obj.get("rules", ()):
            for field in ("verbs", "resources", "apiGroups", "nonResourceURLs"):
                values = rule.get(field, [])
                assert len(values) == len(set(values)), (obj["metadata"]["name"], rule)


# Source: Kubernetes 1.37, bootstrappolicy; what is behind feature gates that are off is left out.
UPSTREAM = [
    "admin",
    "cluster-admin",
    "edit",
    "view",
    "system:aggregate-to-admin",
    "system:aggregate-to-edit",
    "system:aggregate-to-view",
    "system:auth-delegator",
    "system:basic-user",
    "system:discovery",
    "system:heapster",
    "system:kube-aggregator",
    "system:kube-controller-manager",
    "system:kube-dns",
    "system:kube-scheduler",
    "system:kubelet-api-admin",
    "system:monitoring",
    "system:node",
    "system:node-bootstrapper",
    "system:node-problem-detector",
    "system:node-proxier",
    "system:persistent-volume-provisioner",
    "system:public-info-viewer",
    "system:service-account-issuer-discovery",
    "system:volume-scheduler",
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
    "system:certificates.k8s.io:kube-apiserver-client-approver",
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
    "system:certificates.k8s.io:kubelet-serving-approver",
    "system:certificates.k8s.io:legacy-unknown-approver",
]
CONTROLLERS = [
    "attachdetach-controller",
    "certificate-controller",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "ephemeral-volume-controller",
    "expand-controller",
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "job-controller",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "node-controller",
    "persistent-volume-binder",
    "pod-garbage-collector",
    "pv-protection-controller",
    "pvc-protection-controller",
    "replicaset-controller",
    "replication-controller",
    "resource-claim-controller",
    "resourcequota-controller",
    "root-ca-cert-publisher",
    "route-controller",
    "selinux-warning-controller",
    "service-account-controller",
    "service-cidrs-controller",
    "service-controller",
    "statefulset-controller",
    "ttl-after-finished-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
]


# Those of parts that a cluster here has, some under the names of their own manifests.
OURS = {
    "system:metrics-server",
    "system:aggregated-metrics-reader",
    "system:coredns",
    "system:cloud-controller-manager",
    "system:hollow-nodes",
    "system:node-local-volumes",
    "system:controller:local-volume-provisioner",
}


def test_default_roles_and_bindings_have_upstreams_names() -> None:
    found: dict[str, set[str]] = {}
    for obj in bootstrap_objects():
        found.setdefault(obj["kind"], set()).add(obj["metadata"]["name"])
    controllers = {f"system:controller:{name}" for name in CONTROLLERS}
    assert found["ClusterRole"] == {*UPSTREAM, *controllers, *OURS}
    assert controllers < found["ClusterRoleBinding"]
    assert found["Role"] == {
        "extension-apiserver-authentication-reader",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-scheduler",
        "system:controller:bootstrap-signer",
        "system:controller:cloud-provider",
        "system:controller:token-cleaner",
        "system:metrics-server",
        "system:coredns",
        "system:cloud-controller-manager",
    }
    assert found["RoleBinding"] == {
        "system::extension-apiserver-authentication-reader",
        *(found["Role"] - {"extension-apiserver-authentication-reader"}),
    }


def test_every_binding_is_of_a_role_that_there_is() -> None:
    objects = bootstrap_objects()
    roles = {
        (o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in objects
    }
    for obj in objects:
        if ref := obj.get("roleRef"):
            namespace = obj["metadata"].get("namespace", "") if ref["kind"] == "Role" else ""
            assert (ref["kind"], namespace, ref["name"]) in roles


def _verbs(role: str, group: str, resource: str) -> set[str]:
    """What a role lets one do with a resource."""
    return {
        verb
        for rule in wanted(role).get("rules") or ()
        if group in rule.get("apiGroups", ()) and resource in rule.get("resources", ())
        for verb in rule["verbs"]
    }


_READS = "get list watch"
_WRITES = "create delete deletecollection patch update"
_OWNS = "create delete get patch update"


@pytest.mark.parametrize(
    ("role", "group", "resources", "verbs"),
    [
        ("system:aggregate-to-view", "", "configmaps pods services endpoints events", _READS),
        ("system:aggregate-to-view", "", "pods/log pods/status resourcequotas namespaces", _READS),
        ("system:aggregate-to-view", "", "secrets pods/exec nodes persistentvolumes", ""),
        ("system:aggregate-to-view", "apps", "deployments/scale controllerrevisions", _READS),
        ("system:aggregate-to-view", "discovery.k8s.io", "endpointslices", _READS),
        ("system:aggregate-to-view", "rbac.authorization.k8s.io", "roles rolebindings", ""),
        ("system:aggregate-to-edit", "", "configmaps services serviceaccounts events", _WRITES),
        ("system:aggregate-to-edit", "", "secrets pods/exec pods/proxy", f"{_READS} {_WRITES}"),
        ("system:aggregate-to-edit", "", "pods replicationcontrollers/scale", _WRITES),
        ("system:aggregate-to-edit", "", "pods/eviction serviceaccounts/token", "create"),
        ("system:aggregate-to-edit", "", "endpoints resourcequotas limitranges namespaces", ""),
        ("system:aggregate-to-edit", "apps", "deployments/rollback statefulsets/scale", _WRITES),
        ("system:aggregate-to-edit", "coordination.k8s.io", "leases", f"{_READS} {_WRITES}"),
        ("system:aggregate-to-edit", "discovery.k8s.io", "endpointslices", ""),
        ("system:aggregate-to-admin", "rbac.authorization.k8s.io", "roles rolebindings",
         f"{_READS} {_WRITES}"),
        ("system:aggregate-to-admin", "authorization.k8s.io", "localsubjectaccessreviews",
         "create"),
        ("system:node", "", "secrets configmaps services", _READS),
        ("system:node", "", "persistentvolumes persistentvolumeclaims endpoints", "get"),
        ("system:node", "", "nodes", f"{_READS} create patch update"),
        ("system:node", "", "pods", f"{_READS} create delete"),
        ("system:node", "", "serviceaccounts/token pods/eviction", "create"),
        ("system:node", "coordination.k8s.io", "leases", _OWNS),
        ("system:node", "storage.k8s.io", "csinodes", _OWNS),
        ("system:node", "certificates.k8s.io", "certificatesigningrequests", f"{_READS} create"),
        ("system:kube-scheduler", "", "pods/binding bindings", "create"),
        ("system:kube-scheduler", "", "pods", f"{_READS} delete"),
        ("system:kube-scheduler", "", "secrets", ""),
        ("system:kube-controller-manager", "", "secrets", "create delete get update"),
        ("system:kube-controller-manager", "*", "*", "list watch"),
        ("system:auth-delegator", "authorization.k8s.io", "subjectaccessreviews", "create"),
        ("system:basic-user", "authentication.k8s.io", "selfsubjectreviews", "create"),
        ("system:node-proxier", "discovery.k8s.io", "endpointslices", "list watch"),
    ],
)  # fmt: skip
def test_default_roles_let_one_do_what_upstreams_do(
    role: str, group: str, resources: str, verbs: str
) -> None:
    for resource in resources.split():
        found = _verbs(role, group, resource)
        if (role, resource) == ("system:aggregate-to-edit", "serviceaccounts"):
            found -= {"impersonate"}
        assert (resource, found) == (resource, set(verbs.split()))
