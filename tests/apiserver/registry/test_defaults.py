"""What the server fills in, kind by kind, and that doing so twice changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.registry.resources import TABLE
from kubraft.api.object import Object
from tests.apiserver.harness import Bench, deployment, pod, service, simple


def at(obj: Object, path: str) -> Any:
    value: Any = obj
    for name in path.split("."):
        value = value[int(name)] if isinstance(value, list) else value.get(name)
    return value


RBAC = "rbac.authorization.k8s.io"
PROBED: dict[str, Any] = {
    "containers": [{"name": "c", "image": "i", "livenessProbe": {"httpGet": {"port": 80}}}]
}
LIMITED: dict[str, Any] = {
    "containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "0.5"}}}]
}


@pytest.mark.parametrize(
    ("obj", "path", "expected"),
    [
        pytest.param(pod(), "spec.restartPolicy", "Always", id="restart policy"),
        pytest.param(pod(), "spec.terminationGracePeriodSeconds", 30, id="grace period"),
        pytest.param(pod(), "spec.dnsPolicy", "ClusterFirst", id="dns policy"),
        pytest.param(pod(), "status.phase", "Pending", id="new Pods are Pending"),
        pytest.param(pod(), "status.qosClass", "BestEffort", id="qos class"),
        pytest.param(pod(), "metadata.generation", 1, id="generation"),
        pytest.param(
            pod(), "spec.containers.0.imagePullPolicy", "IfNotPresent", id="pull policy by tag"
        ),
        pytest.param(
            pod(containers=[{"name": "c", "image": "host:5000/i"}]),
            "spec.containers.0.imagePullPolicy",
            "Always",
            id="a port is no tag",
        ),
        pytest.param(
            pod(containers=[{"name": "c", "image": "i", "ports": [{"containerPort": 1}]}]),
            "spec.containers.0.ports.0.protocol",
            "TCP",
            id="port protocol",
        ),
        pytest.param(
            pod(**PROBED), "spec.containers.0.livenessProbe.periodSeconds", 10, id="probe period"
        ),
        pytest.param(
            pod(**PROBED), "spec.containers.0.livenessProbe.httpGet.path", "/", id="probe path"
        ),
        pytest.param(
            pod(**LIMITED), "spec.containers.0.resources.requests.cpu", "500m", id="requests"
        ),
        pytest.param(
            pod(volumes=[{"name": "v"}]), "spec.volumes.0.emptyDir", {}, id="volume without source"
        ),
        pytest.param(deployment(), "spec.replicas", 1, id="replicas"),
        pytest.param(
            deployment(), "spec.strategy.rollingUpdate.maxSurge", "25%", id="rolling update"
        ),
        pytest.param(deployment(), "spec.revisionHistoryLimit", 10, id="history"),
        pytest.param(deployment(), "spec.progressDeadlineSeconds", 600, id="progress deadline"),
        pytest.param(
            deployment(), "spec.template.spec.restartPolicy", "Always", id="template is defaulted"
        ),
        pytest.param(service(), "spec.type", "ClusterIP", id="service type"),
        pytest.param(service(), "spec.ports.0.targetPort", 80, id="target port"),
        pytest.param(service(), "spec.sessionAffinity", "None", id="session affinity"),
        pytest.param(
            service(clusterIP="None"), "spec.clusterIPs", ["None"], id="headless has no address"
        ),
        pytest.param(simple("Secret"), "type", "Opaque", id="secret type"),
        pytest.param(
            simple("Secret", stringData={"a": "b"}), "data", {"a": "Yg=="}, id="string data"
        ),
        pytest.param(simple("Namespace"), "spec.finalizers", ["kubernetes"], id="finalizer"),
        pytest.param(
            simple("RoleBinding", api_version=f"{RBAC}/v1", roleRef={"kind": "Role", "name": "r"}),
            "roleRef.apiGroup",
            RBAC,
            id="role reference",
        ),
        pytest.param(
            simple("LimitRange", spec={"limits": [{"type": "Container", "max": {"cpu": "1000m"}}]}),
            "spec.limits.0.defaultRequest.cpu",
            "1",
            id="limit range",
        ),
    ],
)
async def test_a_new_object_is_completed(
    bench: Bench, obj: Object, path: str, expected: Any
) -> None:
    if obj["kind"] == "Namespace":
        obj = copy.deepcopy(obj)
        del obj["metadata"]["namespace"]
    created = await bench.create(obj)
    assert at(created, path) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.sampled_from(["", "x", "TCP", "100m"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["containers", "ports", "name", "image", "volumes", "resources", "limits", "spec"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(resource=st.sampled_from(TABLE), spec=JSON)
def test_defaulting_twice_is_defaulting_once(resource: Any, spec: Any) -> None:
    obj = {"metadata": {"name": "x"}, "spec": spec, "roleRef": spec}
    try:
        resource.strategy.default(obj)
    except (TypeError, AttributeError, KeyError, IndexError):
        return  # does not fit the schema: such an object is refused before defaulting
    once = copy.deepcopy(obj)
    resource.strategy.default(obj)
    assert obj == once
