"""Pages of `describe`, whole, from objects as the API server gives them."""

from typing import Any

from kubraft.api.object import Object
from kubraft.cli.describe.other import (
    describe_any,
    describe_binding,
    describe_namespace,
    describe_role,
    describe_service,
)
from kubraft.cli.describe.page import Page
from kubraft.cli.describe.pod import describe_pod, probe_text, toleration
from kubraft.cli.describe.workload import describe_deployment, describe_replica_set
from kubraft.cli.rollout_state import REVISION


def page_of(describe: Any, *arguments: Any) -> list[str]:
    page = Page()
    describe(page, *arguments)
    return page.text().splitlines()


POD: Object = {
    "kind": "Pod",
    "metadata": {
        "name": "web-1",
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": True}],
    },
    "spec": {
        "serviceAccountName": "default",
        "nodeName": "node-0",
        "containers": [
            {
                "name": "web",
                "image": "kubraft/web:v1",
                "args": ["--slow"],
                "ports": [{"containerPort": 8080}],
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "settings"}}],
                "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": True}],
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
            }
        ],
        "volumes": [{"name": "v", "configMap": {"name": "settings"}}],
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}],
    },
    "status": {
        "phase": "Running",
        "hostIP": "127.0.0.1",
        "podIP": "127.64.0.2",
        "startTime": "2026-01-02T03:04:05Z",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {
                "name": "web",
                "ready": True,
                "restartCount": 1,
                "containerID": "process://1",
                "imageID": "sha256:1",
                "state": {"running": {"startedAt": "2026-01-02T03:04:06Z"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 3}},
            }
        ],
    },
}


def test_a_pod() -> None:
    assert page_of(describe_pod, POD) == [
        "Priority:         0",
        "Service Account:  default",
        "Node:             node-0/127.0.0.1",
        "Start Time:       Fri, 02 Jan 2026 03:04:05 +0000",
        "Status:           Running",
        "IP:               127.64.0.2",
        "Controlled By:    ReplicaSet/web",
        "Containers:",
        "  web:",
        "    Container ID:      process://1",
        "    Image:             kubraft/web:v1",
        "    Image ID:          sha256:1",
        "    Ports:             8080/TCP",
        "    Args:              --slow",
        "    State:             Running",
        "      Started:         Fri, 02 Jan 2026 03:04:06 +0000",
        "    Last State:        Terminated",
        "      Reason:          Error",
        "      Exit Code:       3",
        "    Ready:             True",
        "    Restart Count:     1",
        "    Requests:          cpu: 1,memory: 1Gi",
        (
            "    Readiness:         http-get http://:8080/readyz delay=0s timeout=1s period=10s "
            "#success=1 #failure=3"
        ),
        "    Environment:       A: 1",
        "                       B: <set to the key 'k' in secret 's'>",
        "                       C: (v1:metadata.name)",
        "    Environment From:  settings (ConfigMap)",
        "    Mounts:            /v from v (ro)",
        "Conditions:",
        "  Type    Status",
        "  ----    ------",
        "  Ready   True",
        "Volumes:",
        "  v:",
        "    Type:  ConfigMap",
        "    Name:  settings",
        "QoS Class:       Burstable",
        "Node-Selectors:  <none>",
        "Tolerations:     k:NoExecute op=Exists",
    ]


def test_a_pod_that_ends_says_since_when() -> None:
    metadata = {
        **POD["metadata"],
        "deletionTimestamp": "2026-01-02T03:05:00Z",
        "deletionGracePeriodSeconds": 30,
    }
    lines = page_of(describe_pod, {**POD, "metadata": metadata})
    assert "Status:                    Terminating (since Fri, 02 Jan 2026 03:05:00 +0000)" in lines
    assert "Termination Grace Period:  30s" in lines


def test_probes_and_tolerations_on_a_line() -> None:
    assert probe_text({"exec": {"command": ["true"]}}).startswith("exec [true] delay=0s")
    assert probe_text({"tcpSocket": {"port": 1}}).startswith("tcp-socket :1 ")
    assert probe_text(None) == ""
    assert toleration({"operator": "Exists"}) == "op=Exists"
    assert toleration({"key": "a", "value": "b", "effect": "NoSchedule"}) == "a=b:NoSchedule"
    assert toleration({"key": "a", "operator": "Exists", "tolerationSeconds": 3}) == (
        "a op=Exists for 3s"
    )


TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web"}]}}


def replica_set(name: str, revision: str, replicas: int) -> Object:
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "annotations": {REVISION: revision},
            "ownerReferences": [
                {"kind": "Deployment", "name": "web", "uid": "d", "controller": True}
            ],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": TEMPLATE,
        },
        "status": {"replicas": replicas},
    }


def test_a_deployment_names_its_replica_sets() -> None:
    deployment = {
        "metadata": {"name": "web", "uid": "d", "annotations": {REVISION: "2"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"},
            },
            "template": TEMPLATE,
        },
        "status": {"replicas": 4, "updatedReplicas": 2, "availableReplicas": 3},
    }
    sets = [replica_set("new", "2", 2), replica_set("old", "1", 2)]
    lines = page_of(describe_deployment, deployment, sets)
    assert lines[:5] == [
        "Selector:               app=web",
        "Replicas:               3 desired | 2 updated | 4 total | 3 available | 0 unavailable",
        "StrategyType:           RollingUpdate",
        "MinReadySeconds:        0",
        "RollingUpdateStrategy:  25% max unavailable, 1 max surge",
    ]
    assert lines[-2:] == [
        "OldReplicaSets:  old (2/2 replicas created)",
        "NewReplicaSet:   new (2/2 replicas created)",
    ]


def test_a_replica_set_counts_its_pods() -> None:
    lines = page_of(describe_replica_set, replica_set("rs", "1", 1), [POD, {**POD, "status": {}}])
    assert "Controlled By:  Deployment/web" in lines
    assert "Pods Status:    1 Running / 1 Waiting / 0 Succeeded / 0 Failed" in lines


def test_a_service_lists_ready_pods() -> None:
    service = {
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "10.96.0.1",
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        }
    }
    waiting = {**POD, "status": {"podIP": "127.64.0.3"}}
    assert page_of(describe_service, service, [POD, waiting]) == [
        "Selector:          app=web",
        "Type:              ClusterIP",
        "IP:                10.96.0.1",
        "Port:              http  80/TCP",
        "TargetPort:        8080/TCP",
        "Endpoints:         127.64.0.2:8080",
        "Session Affinity:  None",
    ]


def test_a_namespace_shows_its_quotas_and_limits() -> None:
    quota = {
        "kind": "ResourceQuota",
        "metadata": {"name": "q"},
        "spec": {"hard": {"pods": "5", "cpu": "2"}},
        "status": {"used": {"pods": "1"}},
    }
    limits = {
        "kind": "LimitRange",
        "metadata": {"name": "l"},
        "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "1"}}]},
    }
    lines = page_of(describe_namespace, {"status": {"phase": "Active"}}, [quota, limits])
    assert "  cpu        0      2" in lines
    assert "  pods       1      5" in lines
    assert lines[-1].split() == ["Container", "cpu", "-", "1", "-", "1", "-"]


def test_roles_and_bindings() -> None:
    role = {
        "rules": [
            {"apiGroups": ["", "apps"], "resources": ["x"], "verbs": ["get", "list"]},
            {"nonResourceURLs": ["/healthz"], "verbs": ["get"]},
        ]
    }
    rows = [line.split() for line in page_of(describe_role, role)[3:]]
    assert rows == [
        ["[/healthz]", "[]", "[get]"],
        ["x", "[]", "[]", "[get", "list]"],
        ["x.apps", "[]", "[]", "[get", "list]"],
    ]
    binding = {
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "ada"}],
    }
    assert page_of(describe_binding, binding)[:3] == ["Role:", "  Kind:  Role", "  Name:  r"]


def test_any_other_kind_keeps_peoples_keys_and_hides_secrets() -> None:
    secret = {"kind": "Secret", "metadata": {}, "type": "Opaque", "data": {"myKey": "c2VjcmV0"}}
    lines = page_of(describe_any, secret)
    assert lines == ["Type:  Opaque", "Data:", "  myKey:  8 characters"]
    lease = {"kind": "Lease", "metadata": {}, "spec": {"leaseDurationSeconds": 15}}
    assert page_of(describe_any, lease) == ["Spec:", "  Lease Duration Seconds:  15"]
