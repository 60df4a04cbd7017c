"""No object, however odd, meets a defect: it is stored or refused in words."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apiserver.registry.call import WriteOptions
from apiserver.registry.patches import change_of
from kubraft.api.errors import ApiError, InternalError
from kubraft.api.gvk import gvk_of
from kubraft.api.object import Object
from tests.apiserver.harness import copy as copied
from tests.apiserver.harness import deployment, pod, running_registry, service, simple

RBAC = "rbac.authorization.k8s.io/v1"
PROBE = {"httpGet": {"port": 80, "path": "/"}, "exec": {"command": ["x"]}}
CONTAINER: dict[str, Any] = {
    "name": "c",
    "image": "i:1",
    "ports": [{"containerPort": 80, "name": "http", "hostPort": 1}],
    "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
    "livenessProbe": PROBE,
    "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
}
SPEC: dict[str, Any] = {
    "containers": [CONTAINER],
    "initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always"}],
    "volumes": [
        {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
    ],
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute"}],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "affinity": {"nodeAffinity": {}},
    "overhead": {"cpu": "1"},
    "securityContext": {},
}
SEEDS: list[Object] = [
    pod(**SPEC),
    deployment(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, replicas=2),
    simple("ReplicaSet", api_version="apps/v1", spec=deployment()["spec"]),
    service(
        type="NodePort", ports=[{"port": 1, "name": "a", "targetPort": "x", "nodePort": 30001}]
    ),
    service(type="ExternalName", externalName="a.b"),
    simple("ConfigMap", data={"a": "b"}, binaryData={"c": "Yg=="}),
    simple("Secret", stringData={"a": "b"}, data={"c": "Yg=="}, type="kubernetes.io/basic-auth"),
    simple("ServiceAccount", secrets=[{"name": "x"}]),
    simple("Namespace", spec={"finalizers": ["kubernetes"]}),
    simple(
        "Node",
        spec={"taints": [{"key": "a", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24"},
        status={"capacity": {"cpu": "1"}, "conditions": [{"type": "Ready", "status": "True"}]},
    ),
    simple("Event", involvedObject={"kind": "Pod", "namespace": "default"}, source={}),
    simple("Lease", api_version="coordination.k8s.io/v1", spec={"leaseDurationSeconds": 1}),
    simple("LimitRange", spec={"limits": [{"type": "Container", "max": {"cpu": "1"}}]}),
    simple("ResourceQuota", spec={"hard": {"pods": "1"}, "scopes": ["BestEffort"]}),
    simple("Role", api_version=RBAC, rules=[{"verbs": ["get"], "apiGroups": [""]}]),
    simple(
        "ClusterRole",
        api_version=RBAC,
        rules=[{"verbs": ["get"], "nonResourceURLs": ["/x"]}],
        aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
    ),
    simple(
        "RoleBinding",
        api_version=RBAC,
        roleRef={"kind": "Role", "name": "r", "apiGroup": RBAC},
        subjects=[{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}],
    ),
]
JUNK: list[Any] = [
    None,
    {},
    [],
    "",
    "x",
    "100m",
    0,
    -1,
    2,
    10**12,
    1.5,
    True,
    [{}],
    [None],
    {"a": {}},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if len(path) > 1 or path[:1] not in ((), ("kind",), ("apiVersion",)) else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


@st.composite
def odd_objects(draw: st.DrawFn) -> Object:
    obj = copy.deepcopy(draw(st.sampled_from(SEEDS)))
    if obj["kind"] in ("Namespace", "Node", "ClusterRole"):
        del obj["metadata"]["namespace"]
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(obj)))
        target: Any = obj
        for part in path[:-1]:
            target = target[part]
        if draw(st.booleans()):
            target[path[-1]] = copy.deepcopy(draw(st.sampled_from(JUNK)))
        else:
            del target[path[-1]]
        if not places(obj):
            break
    return obj


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(obj=odd_objects(), change=odd_objects())
async def test_odd_objects_are_stored_or_refused(obj: Object, change: Object) -> None:
    async with running_registry() as bench:
        call = bench.call(gvk_of(obj))
        for attempt in (obj, next(o for o in SEEDS if o["kind"] == obj["kind"])):
            seed = copied(attempt)
            if not call.resource.namespaced and isinstance(seed.get("metadata"), dict):
                seed["metadata"].pop("namespace", None)
            try:
                stored = (await bench.registry.create(call, seed, WriteOptions())).entry.decode()
                break
            except ApiError as error:
                assert not isinstance(error, InternalError)  # noqa: PT017
        else:
            return
        named = bench.call(gvk_of(obj), stored["metadata"]["name"])
        merge = {k: v for k, v in change.items() if k not in ("apiVersion", "kind", "metadata")}
        for sub in ("", *(s for s in call.resource.subresources if s == "status")):
            target = bench.call(gvk_of(obj), named.name, sub=sub)
            try:
                await bench.registry.patch(target, change_of("", merge), WriteOptions())
            except ApiError as error:
                assert not isinstance(error, InternalError)  # noqa: PT017
        shown = await bench.get(gvk_of(obj), named.name)
        assert call.resource.columns.cells(shown, bench.clock.now())
