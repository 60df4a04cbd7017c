import pytest

from apiserver.authz import Attributes, Authorizer
from apiserver.authz.node import NodeGraph
from apiserver.authz.pod_references import Reference, references_of
from apiserver.user import User
from kubraft.api.object import Object
from tests.apiserver.memory import MemoryCluster
from tests.apiserver.objects import NODE_0, namespaced, user


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
    ],
)


def test_a_pod_refers_to_all_that_its_node_must_read() -> None:
    assert sorted((r.resource, r.name) for r in references_of(WEB)) == [
        ("configmaps", "env-map"),
        ("configmaps", "from"),
        ("configmaps", "kube-root-ca.crt"),
        ("configmaps", "volume-map"),
        ("persistentvolumeclaims", "claim"),
        ("pods", "web"),
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
        pytest.param("create events@shop", None, id="an Event"),
        pytest.param("list services", None, id="Services"),
        pytest.param("create deployments.apps@shop", "", id="a Deployment"),
        pytest.param("list namespaces", "", id="Namespaces"),
    ],
)
def test_a_node_may(question: str, reason: str | None) -> None:
    cluster = MemoryCluster(
        WEB,
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


def test_the_graph_is_empty_once_all_pods_are_gone() -> None:
    graph = NodeGraph()
    graph.on_change(None, WEB)
    changed = {**WEB, "status": {"phase": "Running"}}
    graph.on_change(WEB, changed)
    assert graph.connects("node-0", Reference("secrets", "shop", "pull"))
    graph.on_change(changed, None)
    assert graph._references == {}
