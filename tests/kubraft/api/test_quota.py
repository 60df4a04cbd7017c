from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.object import Object
from kubraft.api.quota import in_scope, object_usage, status_of, total_usage


def pod(phase: str = "Running", **spec: Any) -> Object:
    container = {
        "name": "main",
        "resources": {
            "requests": {"cpu": "250m", "memory": "64Mi", "example.com/gpu": "1"},
            "limits": {"memory": "128Mi"},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [container], **spec},
        "status": {"phase": phase},
    }


def service(**spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}


def quota(hard: dict[str, str], **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": "default"},
        "spec": {"hard": hard, **spec},
    }


@pytest.mark.parametrize(
    ("obj", "plural", "usage"),
    [
        pytest.param(
            pod(),
            "pods",
            {
                "count/pods": "1",
                "pods": "1",
                "cpu": "250m",
                "requests.cpu": "250m",
                "memory": "64Mi",
                "requests.memory": "64Mi",
                "limits.memory": "128Mi",
                "requests.example.com/gpu": "1",
            },
            id="a Pod",
        ),
        pytest.param(pod("Failed"), "pods", {"count/pods": "1"}, id="an ended Pod"),
        pytest.param(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}},
            "deployments",
            {"count/deployments.apps": "1"},
            id="any kind",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {}},
            "secrets",
            {"count/secrets": "1", "secrets": "1"},
            id="a kind with a plain name",
        ),
        pytest.param(
            service(type="NodePort", ports=[{}, {}]),
            "services",
            {"count/services": "1", "services": "1", "services.nodeports": "2"},
            id="node ports",
        ),
        pytest.param(
            service(type="LoadBalancer", ports=[{}], allocateLoadBalancerNodePorts=False),
            "services",
            {"count/services": "1", "services": "1", "services.loadbalancers": "1"},
            id="a load balancer without node ports",
        ),
    ],
)
def test_usage_of_one_object(obj: Object, plural: str, usage: dict[str, str]) -> None:
    assert {name: str(amount) for name, amount in object_usage(obj, plural).items()} == usage


@pytest.mark.parametrize(
    ("scope", "obj", "counted"),
    [
        ("Terminating", pod(activeDeadlineSeconds=5), True),
        ("Terminating", pod(), False),
        ("NotTerminating", pod(), True),
        ("BestEffort", pod(), False),
        ("BestEffort", pod(containers=[{"name": "main"}]), True),
        ("NotBestEffort", pod(), True),
        ("PriorityClass", pod(priorityClassName="high"), True),
        ("PriorityClass", pod(), False),
        ("Unheard", pod(), False),
        ("BestEffort", service(), False),
    ],
)
def test_scopes_choose_pods(scope: str, obj: Object, counted: bool) -> None:
    assert in_scope(quota({}, scopes=[scope]), obj) is counted


def test_a_scope_selector_names_priority_classes() -> None:
    expression = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    selected = quota({}, scopeSelector={"matchExpressions": [expression]})
    assert in_scope(selected, pod(priorityClassName="high"))
    assert not in_scope(selected, pod(priorityClassName="low"))


def test_status_tells_limits_and_sums_in_canonical_form() -> None:
    bound = quota({"pods": "10", "requests.cpu": "2000m", "secrets": "3"})
    used = total_usage(bound, [(pod(), "pods"), (pod(), "pods"), (pod("Succeeded"), "pods")])
    assert status_of(bound, used) == {
        "hard": {"pods": "10", "requests.cpu": "2", "secrets": "3"},
        "used": {"pods": "2", "requests.cpu": "500m", "secrets": "0"},
    }
