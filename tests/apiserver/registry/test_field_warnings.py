"""What clients are warned of, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver import notes
from apiserver.registry.field_warnings import field_warnings
from kubraft.api.gvk import POD, gvk_of
from kubraft.api.object import Object
from tests.apiserver.harness import Bench, deployment, pod, simple


def _container(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "c", "image": "i", **fields}]


_BETA = "beta.kubernetes.io/os"
_CASES = [
    ({"nodeSelector": {_BETA: "linux"}},
     f'spec.nodeSelector[{_BETA}]: deprecated since v1.14; use "kubernetes.io/os" instead'),
    ({"topologySpreadConstraints": [{"topologyKey": "failure-domain.beta.kubernetes.io/zone",
                                     "labelSelector": {}}]},
     ("spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is "
     'deprecated since v1.17; use "topology.kubernetes.io/zone" instead')),
    ({"topologySpreadConstraints": [{"topologyKey": "zone"}]},
     ("spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching "
     "no pod")),
    ({"volumes": [{"name": "v", "gitRepo": {}}]}, "spec.volumes[0].gitRepo: deprecated in v1.11"),
    ({"hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}]},
     'spec.hostAliases[1].ip: duplicate ip "1.1.1.1"'),
    ({"imagePullSecrets": [{}]}, 'spec.imagePullSecrets[0].name: invalid empty name ""'),
    ({"containers": _container(resources={"limits": {"memory": "100m"}})},
     ('spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must '
     "be an integer")),
    ({"containers": _container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])},
     ('spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when '
     "using apply")),
    ({"containers": _container(ports=[{"containerPort": 80}, {"containerPort": 80}])},
     "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"),
    ({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": _BETA, "operator": "Exists"}]}]}}}},
     ("spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
     f"nodeSelectorTerms[0].matchExpressions[0].key: {_BETA} is deprecated since v1.14; use "
     '"kubernetes.io/os" instead')),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "warning"), _CASES)
def test_pods_are_warned_of(spec: dict[str, Any], warning: str) -> None:
    made = {**pod()["spec"], **spec}
    assert list(field_warnings(POD, {"metadata": {"name": "a"}, "spec": made})) == [warning]
    template = {"metadata": {}, "spec": made}
    whole: Object = {**deployment(), "spec": {"template": template}}
    found = list(field_warnings(gvk_of(whole), whole))
    assert found[0].startswith("spec.template.spec.")


@pytest.mark.parametrize(
    "env",
    [
        [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}],
    ],
)
def test_what_is_fine_is_not_warned_of(env: list[dict[str, str]]) -> None:
    spec = {"containers": _container(env=env, resources={"limits": {"memory": "1Gi"}})}
    assert list(field_warnings(POD, {"metadata": {}, "spec": spec})) == []


async def test_warnings_come_with_the_write(bench: Bench) -> None:
    said = notes.begin()
    await bench.create(pod(nodeSelector={_BETA: "linux"}))
    assert len(said.warnings) == 1
    made = await bench.create(deployment())
    said = notes.begin()
    made["metadata"]["labels"] = {"a": "b"}
    made = await bench.update(made)
    assert said.warnings == []
    made["spec"]["template"]["spec"]["nodeSelector"] = {_BETA: "linux"}
    await bench.update(made)
    (text,) = said.warnings
    assert text.startswith("spec.template.spec.nodeSelector[")


async def test_an_ingress_of_old_is_warned_of(bench: Bench) -> None:
    said = notes.begin()
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    ingress = simple("Ingress", api_version="networking.k8s.io/v1",
                     spec={"defaultBackend": backend})  # fmt: skip
    ingress["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "nginx"}
    await bench.create(ingress)
    assert said.warnings == [
        (
            'annotation "kubernetes.io/ingress.class" is deprecated, please use '
            "'spec.ingressClassName' instead"
        )
    ]


def test_endpoints_are_deprecated(bench: Bench) -> None:
    rows = {row.gvk.kind: row.warnings for row in bench.registry.resources}
    assert rows["Endpoints"] == (
        "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    )
    assert rows["EndpointSlice"] == ()
