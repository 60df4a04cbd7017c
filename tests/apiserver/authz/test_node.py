import pytest

from apiserver.authz import Attributes, Authorizer
from apiserver.authz.node_graph import NodeGraph
from apiserver.authz.pod_references import Reference, references_of
from apiserver.user import User
from kubraft.api.object import Object
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import NODE_0, cluster_scoped, namespaced, user


def pod(name: str, node: str = "", **spec: object) -> Object:
    return namespaced("Pod", name, spec={"nodeName": node, "containers": [], **spec})


WEB = pod(
    "web",
    "node-0",
    serviceAccountName="web-account",
    imagePullSecrets=[{"name": "pull"}],
    initContainers=[{"env": [{"valueFrom": {"secretKeyRef": {"name": "init-env", "key": "k"}}}]}],
    containers=[
        {
            "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "env-map", "key": "k"}}},
                {"name": "B", "value": "plain"},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "envFrom": [{"secretRef": {"name": "from-secret"}}, {"configMapRef": {"name": "from"}}],
        }
    ],
    volumes=[
        {"name": "a", "secret": {"secretName": "volume-secret"}},
        {"name": "b", "configMap": {"name": "volume-map"}},
        {"name": "c", "emptyDir": {}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "claim"}},
        {
            "name": "e",
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt"}},
                    {"secret": {"name": "projected-secret"}},
                ]
            },
        },
        {"name": "f", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "csi-secret"}}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
    ],
    resourceClaims=[{"name": "g", "resourceClaimName": "gpu"}],
)


def test_a_pod_refers_to_all_that_its_node_must_read() -> None:
    assert sorted((r.resource, r.name) for r in references_of(WEB)) == [
        ("configmaps", "env-map"),
        ("configmaps", "from"),
        ("configmaps", "kube-root-ca.crt"),
        ("configmaps", "volume-map"),
        ("persistentvolumeclaims", "claim"),
        ("persistentvolumeclaims", "web-scratch"),
        ("pods", "web"),
        ("resourceclaims", "gpu"),
        ("secrets", "csi-secret"),
        ("secrets", "from-secret"),
        ("secrets", "init-env"),
        ("secrets", "projected-secret"),
        ("secrets", "pull"),
        ("secrets", "volume-secret"),
        ("serviceaccounts", "web-account"),
    ]


def ask(text: str, who: User = NODE_0) -> Attributes:
    """ "get secrets:a@shop ?selector"."""
    verb, target, *selector = text.split()
    target, _, namespace = target.partition("@")
    target, _, name = target.partition(":")
    resource, _, group = target.partition(".")
    resource, _, subresource = resource.partition("/")
    return Attributes(
        who, verb, group, "v1", resource, subresource, namespace, name,
        field_selector="".join(selector).lstrip("?"),
    )  # fmt: skip


LEASES = "leases.coordination.k8s.io"
ATTACHMENTS = "volumeattachments.storage.k8s.io"
SLICES = "resourceslices.resource.k8s.io"
UNRELATED = "no relationship found between node 'node-0' and this object"


def volume(name: str, claim: str, secret: str) -> Object:
    csi = {
        "driver": "x",
        "nodeStageSecretRef": {"name": secret, "namespace": "vault"},
        "controllerPublishSecretRef": {"name": "publish", "namespace": "vault"},
    }
    ref = {"namespace": "shop", "name": claim}
    return cluster_scoped("PersistentVolume", name, spec={"csi": csi, "claimRef": ref})


def of_node(api_version: str, kind: str, name: str, node: str) -> Object:
    made = cluster_scoped(kind, name, spec={"nodeName": node})
    return {**made, "apiVersion": api_version}


VOLUMES = (
    volume("disk", "claim", "mount"),
    volume("other-disk", "theirs", "other-mount"),
    of_node("storage.k8s.io/v1", "VolumeAttachment", "attached", "node-0"),
    of_node("storage.k8s.io/v1", "VolumeAttachment", "elsewhere", "node-1"),
    of_node("resource.k8s.io/v1", "ResourceSlice", "own", "node-0"),
    of_node("resource.k8s.io/v1", "ResourceSlice", "theirs", "node-1"),
)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        pytest.param("get secrets:pull@shop", None, id="a Secret of its Pod"),
        pytest.param("watch secrets:pull@shop", None, id="watching one Secret"),
        pytest.param(
            "list secrets@shop ?metadata.name=pull", None, id="listing one Secret by its name"
        ),
        pytest.param("get configmaps:kube-root-ca.crt@shop", None, id="a ConfigMap of its Pod"),
        pytest.param(
            "get secrets:theirs@shop",
            "no relationship found between node 'node-0' and this object",
            id="a Secret of a Pod elsewhere",
        ),
        pytest.param(
            "get secrets:pull@bank",
            "no relationship found between node 'node-0' and this object",
            id="the same name in another namespace",
        ),
        pytest.param("list secrets@shop", "No Object name found", id="listing all Secrets"),
        pytest.param(
            "delete secrets:pull@shop", "can only read resources of this type", id="deleting one"
        ),
        pytest.param("create serviceaccounts/token:web-account@shop", None, id="its Pod's token"),
        pytest.param(
            "create serviceaccounts/token:admin@shop",
            "no relationship found between node 'node-0' and this object",
            id="a token of another account",
        ),
        pytest.param(
            "create serviceaccounts@shop",
            "can only create tokens for individual service accounts",
            id="an account",
        ),
        pytest.param("get nodes:node-0", None, id="itself"),
        pytest.param("create nodes", None, id="registering"),
        pytest.param("create nodes:node-0", None, id="registering by name"),
        pytest.param("patch nodes/status:node-0", None, id="its status"),
        pytest.param("watch nodes ?metadata.name=node-0", None, id="watching itself"),
        pytest.param(
            "get nodes:node-1",
            "node 'node-0' cannot read 'node-1', only its own Node object",
            id="another node",
        ),
        pytest.param(
            "patch nodes/status:node-1",
            "node 'node-0' cannot patch 'node-1', only its own Node object",
            id="another node's status",
        ),
        pytest.param("delete nodes:node-0", "", id="deleting itself"),
        pytest.param("get pods:web@shop", None, id="its Pod"),
        pytest.param(
            "get pods:other@shop",
            "no relationship found between node 'node-0' and this object",
            id="a Pod elsewhere",
        ),
        pytest.param("watch pods ?spec.nodeName=node-0", None, id="watching its Pods"),
        pytest.param(
            "watch pods ?spec.nodeName=node-1",
            "can only list/watch pods with spec.nodeName field selector",
            id="watching another node's Pods",
        ),
        pytest.param(
            "list pods",
            "can only list/watch pods with spec.nodeName field selector",
            id="all Pods",
        ),
        pytest.param("patch pods/status:web@shop", None, id="a Pod's status"),
        pytest.param("delete pods:web@shop", None, id="ending a Pod"),
        pytest.param("create pods/exec:web@shop", "", id="entering a Pod"),
        pytest.param(f"update {LEASES}:node-0@kube-node-lease", None, id="its Lease"),
        pytest.param(f"create {LEASES}@kube-node-lease", None, id="its first Lease"),
        pytest.param(
            f"update {LEASES}:node-1@kube-node-lease",
            "can only access node lease with the same name as the requesting node",
            id="another node's Lease",
        ),
        pytest.param(
            f"get {LEASES}:kube-scheduler@kube-system",
            'can only access leases in the "kube-node-lease" system namespace',
            id="the scheduler's Lease",
        ),
        pytest.param(
            f"list {LEASES}@kube-node-lease",
            "can only get, create, update, patch, or delete a node lease",
            id="all Leases",
        ),
        pytest.param("get persistentvolumeclaims:claim@shop", None, id="its Pod's claim"),
        pytest.param(
            "list persistentvolumeclaims@shop ?metadata.name=claim",
            "can only get individual resources of this type",
            id="listing claims",
        ),
        pytest.param("get persistentvolumeclaims:web-scratch@shop", None, id="a claim of its own"),
        pytest.param(
            "patch persistentvolumeclaims/status:claim@shop", None, id="how far a claim has grown"
        ),
        pytest.param(
            "patch persistentvolumeclaims/status:theirs@shop", UNRELATED, id="another's claim"
        ),
        pytest.param(
            "delete persistentvolumeclaims:claim@shop",
            "can only get individual resources of this type",
            id="ending a claim",
        ),
        pytest.param("get persistentvolumes:disk", None, id="the volume of its Pod's claim"),
        pytest.param("get persistentvolumes:other-disk", UNRELATED, id="another volume"),
        pytest.param("get persistentvolumes:none", UNRELATED, id="no volume"),
        pytest.param(
            "list persistentvolumes",
            "can only get individual resources of this type",
            id="all volumes",
        ),
        pytest.param("get secrets:mount@vault", None, id="what a volume is mounted with"),
        pytest.param("get secrets:publish@vault", UNRELATED, id="what only a controller needs"),
        pytest.param("get secrets:other-mount@vault", UNRELATED, id="of another volume"),
        pytest.param("get resourceclaims.resource.k8s.io:gpu@shop", None, id="a claim to devices"),
        pytest.param("get resourceclaims.resource.k8s.io:x@shop", UNRELATED, id="another such"),
        pytest.param(f"get {ATTACHMENTS}:attached", None, id="a volume that is attached to it"),
        pytest.param(f"get {ATTACHMENTS}:elsewhere", UNRELATED, id="attached elsewhere"),
        pytest.param("update csinodes.storage.k8s.io:node-0", None, id="its CSINode"),
        pytest.param(
            "delete csinodes.storage.k8s.io:node-1",
            "can only access CSINode with the same name as the requesting node",
            id="another's CSINode",
        ),
        pytest.param(
            "list csinodes.storage.k8s.io",
            "can only get, create, update, patch, or delete a CSINode",
            id="all CSINodes",
        ),
        pytest.param(f"update {SLICES}:own", None, id="its devices"),
        pytest.param(f"update {SLICES}:theirs", UNRELATED, id="another's devices"),
        pytest.param(f"list {SLICES} ?spec.nodeName=node-0", None, id="listing its devices"),
        pytest.param(
            f"deletecollection {SLICES}",
            "can only list/watch/deletecollection resourceslices with nodeName field selector",
            id="ending all devices",
        ),
        pytest.param(
            "list secrets ?metadata.name=pull",
            "can only read namespaced object of this type",
            id="in all Namespaces",
        ),
        pytest.param("create events@shop", None, id="an Event"),
        pytest.param("list services", None, id="Services"),
        pytest.param("create deployments.apps@shop", "", id="a Deployment"),
        pytest.param("list namespaces", "", id="Namespaces"),
    ],
)
def test_a_node_may(question: str, reason: str | None) -> None:
    cluster = MemoryCluster(
        WEB,
        *VOLUMES,
        pod("other", "node-1", imagePullSecrets=[{"name": "theirs"}]),
        pod("waiting", "", imagePullSecrets=[{"name": "theirs"}]),
    )
    decision = Authorizer(cluster).authorize(ask(question))
    assert (decision.allowed, decision.reason if not decision.allowed else None) == (
        reason is None,
        reason,
    )


def test_who_is_only_called_like_a_node_has_nothing() -> None:
    authorizer = Authorizer(MemoryCluster(WEB))
    for who in (user("system:node:node-0"), user("ada", "system:nodes"), user("", "system:nodes")):
        assert not authorizer.authorize(ask("get secrets:pull@shop", who)).allowed


def test_the_graph_follows_pods() -> None:
    cluster = MemoryCluster()
    authorizer = Authorizer(cluster)
    question = ask("get secrets:pull@shop")
    waiting = {**WEB, "spec": {**WEB["spec"], "nodeName": ""}}
    cluster.put(waiting)
    assert not authorizer.authorize(question).allowed
    cluster.put(WEB)
    assert authorizer.authorize(question).allowed
    second = cluster.put(pod("second", "node-0", imagePullSecrets=[{"name": "pull"}]))
    cluster.remove(WEB)
    assert authorizer.authorize(question).allowed
    cluster.remove(second)
    assert not authorizer.authorize(question).allowed


def test_the_graph_follows_volumes() -> None:
    cluster = MemoryCluster(WEB)
    authorizer = Authorizer(cluster)
    question = ask("get secrets:mount@vault")
    disk = volume("disk", "claim", "mount")
    cluster.put(disk)
    assert authorizer.authorize(question).allowed
    cluster.put(volume("disk", "theirs", "mount"))
    assert not authorizer.authorize(question).allowed
    cluster.put(disk)
    cluster.remove(disk)
    assert not authorizer.authorize(question).allowed


def test_the_graph_is_empty_once_all_pods_are_gone() -> None:
    graph = NodeGraph()
    graph.on_change(None, WEB)
    changed = {**WEB, "status": {"phase": "Running"}}
    graph.on_change(WEB, changed)
    assert graph.connects("node-0", Reference("secrets", "shop", "pull"))
    graph.on_change(changed, None)
    assert graph._references == {}
