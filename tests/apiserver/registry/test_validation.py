"""What is refused, and in which words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apiserver.registry.call import WriteOptions
from kubraft.api.errors import ApiError, BadRequestError, InvalidError
from kubraft.api.gvk import POD
from kubraft.api.object import Object
from kubraft.api.patch import merge_patch
from tests.apiserver.harness import Bench, deployment, pod, service, simple


def containers(*containers: dict[str, Any]) -> Object:
    return pod(containers=[{"name": "c", "image": "i", **c} for c in containers])


def named(obj: Object, **metadata: Any) -> Object:
    obj = copy.deepcopy(obj)
    obj["metadata"].update(metadata)
    return obj


def showing(path: str) -> Object:
    """A Pod with a variable that shows that field of it."""
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}
    return containers({"env": [{"name": "A", "valueFrom": source}]})


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        pytest.param(
            pod(containers=[]), 'Pod "web" is invalid: spec.containers: Required value', id="empty"
        ),
        pytest.param(
            simple("Pod", "web", spec={}),
            'Pod "web" is invalid: spec.containers: Required value',
            id="no containers",
        ),
        pytest.param(
            containers({}, {}),
            'Pod "web" is invalid: spec.containers[1].name: Duplicate value: "c"',
            id="same name",
        ),
        pytest.param(
            pod(restartPolicy="Maybe"),
            'Pod "web" is invalid: spec.restartPolicy: Unsupported value: "Maybe": '
            'supported values: "Always", "Never", "OnFailure"',
            id="restart policy",
        ),
        pytest.param(
            containers({"ports": [{"containerPort": 70000}]}),
            'Pod "web" is invalid: spec.containers[0].ports[0].containerPort: '
            "Invalid value: 70000: must be between 1 and 65535, inclusive",
            id="port",
        ),
        pytest.param(
            containers({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}),
            'Pod "web" is invalid: spec.containers[0].resources.requests: Invalid value: "2": '
            "must be less than or equal to cpu limit of 1",
            id="request above limit",
        ),
        pytest.param(
            containers({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
            'Pod "web" is invalid: spec.containers[0].volumeMounts[0].name: Not found: "v"',
            id="mount of no volume",
        ),
        pytest.param(
            containers({"livenessProbe": {}}),
            'Pod "web" is invalid: spec.containers[0].livenessProbe: Required value: '
            "must specify a handler type",
            id="probe without handler",
        ),
        pytest.param(
            showing("spec.odd"),
            'Pod "web" is invalid: spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid '
            'value: "spec.odd": error converting fieldPath: field label not supported: spec.odd',
            id="variable of no field",
        ),
        pytest.param(
            showing("status.phase"), 'Unsupported value: "status.phase"', id="variable of the phase"
        ),
        pytest.param(showing(""), "fieldRef.fieldPath: Required value", id="variable of nothing"),
        pytest.param(
            simple("ConfigMap", data={"a": "x" * (1 << 20), "b": "x"}),
            'ConfigMap "x" is invalid: []: Too long: may not be more than 1048576 bytes',
            id="more data than fits",
        ),
        pytest.param(
            named(pod(), labels={"a": "b c"}),
            "metadata.labels: Invalid value",
            id="label value",
        ),
        pytest.param(named(pod(), name="UP"), "metadata.name: Invalid value", id="name"),
        pytest.param(
            named(pod(), finalizers=["x"]),
            "name is neither a standard finalizer name nor is it fully qualified",
            id="finalizer",
        ),
        pytest.param(
            deployment(selector={"matchLabels": {"a": "b"}}),
            'Deployment.apps "web" is invalid: spec.template.metadata.labels: '
            'Invalid value: {"app":"web"}: `selector` does not match template `labels`',
            id="selector and template",
        ),
        pytest.param(
            deployment(selector={}), "empty selector is invalid for deployment", id="selector"
        ),
        pytest.param(
            deployment(replicas=-1), "spec.replicas: Invalid value: -1: must be greater", id="count"
        ),
        pytest.param(
            deployment(
                strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}},
            ),
            "may not be 0 when `maxSurge` is 0",
            id="a rollout that cannot move",
        ),
        pytest.param(
            simple("Deployment", api_version="apps/v1", spec={}),
            'Deployment.apps "x" is invalid: [spec.selector: Required value, '
            "spec.template: Required value]",
            id="everything missing",
        ),
        pytest.param(
            service(ports=[]), 'Service "web" is invalid: spec.ports: Required value', id="ports"
        ),
        pytest.param(service(type="Odd"), "spec.type: Unsupported value", id="service type"),
        pytest.param(
            service(ports=[{"port": 1}, {"port": 2}]),
            "spec.ports[0].name: Required value",
            id="several ports need names",
        ),
        pytest.param(
            service(clusterIP="1.2.3.4"),
            "The range of valid IPs is 10.96.0.0/16",
            id="address of another network",
        ),
        pytest.param(
            simple("ConfigMap", data={"a/b": ""}), "data[a/b]: Invalid value", id="config key"
        ),
        pytest.param(
            simple("Secret", type="kubernetes.io/tls"),
            "[data[tls.crt]: Required value, data[tls.key]: Required value]",
            id="tls secret",
        ),
        pytest.param(
            simple("Lease", api_version="coordination.k8s.io/v1", spec={"leaseDurationSeconds": 0}),
            "must be greater than 0",
            id="lease",
        ),
        pytest.param(
            simple(
                "Role",
                api_version="rbac.authorization.k8s.io/v1",
                rules=[{"verbs": ["get"], "nonResourceURLs": ["/x"]}],
            ),
            "namespaced rules cannot apply to non-resource URLs",
            id="role with urls",
        ),
        pytest.param(
            simple("ResourceQuota", spec={"hard": {"cpu": "-1"}}),
            "spec.hard[cpu]: Invalid value",
            id="negative quota",
        ),
    ],
)
async def test_an_invalid_object_is_refused(bench: Bench, obj: Object, message: str) -> None:
    with pytest.raises(InvalidError) as error:
        await bench.create(obj)
    assert message in error.value.message
    assert error.value.causes


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        pytest.param(
            pod(foo=1),
            'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
            'unknown field "spec.foo"',
            id="unknown field",
        ),
        pytest.param(
            containers({"ports": [{"containerPort": "80"}]}),
            "json: cannot unmarshal string into Go struct field "
            "ContainerPort.spec.containers.ports.containerPort of type int32",
            id="string for a number",
        ),
        pytest.param(
            containers({"resources": {"limits": {"cpu": "lots"}}}),
            "quantities must match the regular expression",
            id="quantity",
        ),
        pytest.param(
            simple("Secret", data={"a": "%"}), "illegal base64 data at input byte 0", id="base64"
        ),
        pytest.param(simple("Pod", spec=[]), "cannot unmarshal array", id="list for an object"),
        pytest.param(
            named(pod(), labels={"a": 1}), "cannot unmarshal number", id="number for a label"
        ),
        pytest.param(deployment(replicas=2**31), "of type int32", id="number that does not fit"),
    ],
)
async def test_an_unreadable_object_is_refused(bench: Bench, obj: Object, message: str) -> None:
    with pytest.raises(BadRequestError) as error:
        await bench.create(obj)
    assert message in error.value.message


IMMUTABLE = simple("ConfigMap", data={"a": "b"}, immutable=True)


@pytest.mark.parametrize(
    ("obj", "change", "message"),
    [
        pytest.param(
            pod(), {"spec": {"hostNetwork": True}}, "pod updates may not change fields", id="pod"
        ),
        pytest.param(
            deployment(),
            {
                "spec": {
                    "selector": {"matchLabels": {"app": "b"}},
                    "template": {"metadata": {"labels": {"app": "b"}}},
                }
            },
            "spec.selector: Invalid value",
            id="selector",
        ),
        pytest.param(
            service(), {"spec": {"clusterIP": "10.96.0.77"}}, "may not change once set", id="ip"
        ),
        pytest.param(
            IMMUTABLE,
            {"data": {"a": "c"}},
            "data: Forbidden: field is immutable when `immutable` is set",
            id="immutable config map",
        ),
        pytest.param(
            IMMUTABLE, {"immutable": False}, "immutable: Forbidden", id="immutable for good"
        ),
        pytest.param(simple("Secret"), {"type": "other"}, "type: Invalid value", id="secret type"),
        pytest.param(
            simple(
                "RoleBinding",
                api_version="rbac.authorization.k8s.io/v1",
                roleRef={"kind": "Role", "name": "r"},
            ),
            {"roleRef": {"name": "s"}},
            "cannot change roleRef",
            id="role reference",
        ),
    ],
)
async def test_what_is_fixed_cannot_be_changed(
    bench: Bench, obj: Object, change: dict[str, Any], message: str
) -> None:
    created = await bench.create(obj)
    with pytest.raises(InvalidError) as error:
        await bench.update(merge_patch(created, change))
    assert message in error.value.message


async def test_a_pod_may_get_another_image(bench: Bench) -> None:
    created = await bench.create(pod())
    created["spec"]["containers"][0]["image"] = "kubraft/web:2"
    updated = await bench.update(created)
    assert updated["metadata"]["generation"] == 2


async def test_every_refusal_is_an_api_error(bench: Bench) -> None:
    values: list[dict[str, Any]] = [
        {},
        {"metadata": None},
        {"metadata": {"name": 1}},
        {"metadata": []},
    ]
    for nonsense in values:
        obj: Any = {"apiVersion": "v1", "kind": "Pod", **nonsense}
        with pytest.raises(ApiError):
            await bench.registry.create(bench.call(POD), obj, WriteOptions())
