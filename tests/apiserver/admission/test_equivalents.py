"""matchPolicy: rules on one version of a resource, and requests by another."""

from __future__ import annotations

from typing import Any

import pytest

from kubraft.api.errors import ApiError
from kubraft.api.gvk import GroupVersionKind, gvk_of
from kubraft.api.object import Object
from tests.apiserver.admission.hooks_server import HookServer, configuration, patch
from tests.apiserver.custom.definitions import GROUP, crontab, definition, version
from tests.apiserver.custom.test_conversion import converted, second_version
from tests.apiserver.harness import Bench, simple
from tests.harness.eventually import eventually

ADMISSION = "admissionregistration.k8s.io/v1"


def _rule(group: str, api_version: str, resource: str) -> dict[str, Any]:
    return {
        "operations": ["CREATE", "UPDATE"],
        "apiGroups": [group],
        "apiVersions": [api_version],
        "resources": [resource],
    }


HPA_V1 = _rule("autoscaling", "v1", "horizontalpodautoscalers")
CRONTAB_V2 = _rule(GROUP, "v2", "crontabs")


def _autoscaler(name: str = "web") -> Object:
    resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": resource}],
    }
    return simple("HorizontalPodAutoscaler", name, api_version="autoscaling/v2", spec=spec)


async def _configure(bench: Bench, *objects: Object) -> None:
    for obj in objects:
        await bench.writer.create(obj)
        place = (gvk_of(obj), "", obj["metadata"]["name"])
        await eventually(lambda place=place: bench.reader.get(*place))  # type: ignore[misc]


@pytest.fixture
async def versions(bench: Bench, hooks: HookServer) -> Bench:
    """Two versions of a custom kind that a webhook converts."""
    hooks.answers["/convert"] = converted
    url = f"https://127.0.0.1:{hooks.port}/convert"
    webhook = {
        "clientConfig": {"url": url, "caBundle": hooks.bundle},
        "conversionReviewVersions": ["v1"],
    }
    conversion = {"strategy": "Webhook", "webhook": webhook}
    made = definition(version("v1"), second_version(), conversion=conversion)
    await bench.writer.create(made)
    kind = GroupVersionKind(GROUP, "v2", "CronTab")
    await eventually(lambda: bench.registry.resources.find(kind.api_version, kind.kind))
    return bench


async def test_a_webhook_sees_the_version_that_its_rule_names(
    bench: Bench, hooks: HookServer
) -> None:
    hooks.answers["/x"] = lambda _: {}
    await _configure(bench, configuration("Validating", hooks.hook("/x", rules=[HPA_V1])))
    await bench.create(_autoscaler())
    ((_, asked),) = hooks.asked
    assert asked["kind"]["version"] == asked["resource"]["version"] == "v1"
    assert asked["requestKind"]["version"] == asked["requestResource"]["version"] == "v2"
    assert asked["object"]["apiVersion"] == "autoscaling/v1"
    assert asked["object"]["spec"]["targetCPUUtilizationPercentage"] == 70


async def test_a_webhook_changes_a_version_that_was_not_asked_for(
    bench: Bench, hooks: HookServer
) -> None:
    path = "/spec/targetCPUUtilizationPercentage"
    hooks.answers["/x"] = lambda _: patch({"op": "replace", "path": path, "value": 55})
    await _configure(bench, configuration("Mutating", hooks.hook("/x", rules=[HPA_V1])))
    made = await bench.create(_autoscaler())
    assert made["apiVersion"] == "autoscaling/v2"
    assert made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 55


@pytest.mark.parametrize(
    ("rules", "fields", "seen"),
    [
        pytest.param([HPA_V1], {"matchPolicy": "Exact"}, [], id="exact: not asked"),
        pytest.param([HPA_V1], {"matchPolicy": "Equivalent"}, ["v1"], id="equivalent"),
        pytest.param(
            [HPA_V1, {**HPA_V1, "apiVersions": ["v2"]}], {}, ["v2"], id="the request's own first"
        ),
        pytest.param([{**HPA_V1, "apiVersions": ["*"]}], {}, ["v2"], id="any version"),
        pytest.param([{**HPA_V1, "operations": ["UPDATE"]}], {}, [], id="another operation"),
    ],
)
async def test_which_version_is_shown(
    bench: Bench,
    hooks: HookServer,
    rules: list[dict[str, Any]],
    fields: dict[str, Any],
    seen: list[str],
) -> None:
    hooks.answers["/x"] = lambda _: {}
    hook = hooks.hook("/x", rules=rules, **fields)
    await _configure(bench, configuration("Validating", hook))
    await bench.create(_autoscaler())
    assert [asked["kind"]["version"] for _, asked in hooks.asked] == seen


async def test_a_webhook_on_a_custom_version_that_another_webhook_converts(
    versions: Bench, hooks: HookServer
) -> None:
    hooks.answers["/x"] = lambda _: patch(
        {"op": "replace", "path": "/spec/schedule", "value": "1 1 1 1 1"}
    )
    hook = hooks.hook("/x", rules=[CRONTAB_V2])
    await _configure(versions, configuration("Mutating", hook))
    made = await versions.create(crontab())
    assert made["apiVersion"] == f"{GROUP}/v1"
    assert made["spec"]["cronSpec"] == "1 1 1 1 1"
    (asked,) = [request for path, request in hooks.asked if path == "/x"]
    assert asked["object"]["apiVersion"] == f"{GROUP}/v2"
    assert asked["object"]["spec"] == {"schedule": "* * * * */5"}


async def test_an_object_that_cannot_be_converted_is_not_written(
    versions: Bench, hooks: HookServer
) -> None:
    hooks.answers["/convert"] = lambda _: {"result": {"status": "Failed", "message": "no way"}}
    hooks.answers["/x"] = lambda _: {}
    hook = hooks.hook("/x", rules=[CRONTAB_V2])
    await _configure(versions, configuration("Validating", hook))
    with pytest.raises(ApiError, match="no way"):
        await versions.create(crontab())
    assert [path for path in hooks.paths() if path == "/x"] == []


def _policy(sort: str, rule: dict[str, Any], **spec: Any) -> tuple[Object, Object]:
    constraints = {"resourceRules": [rule], **spec.pop("constraints", {})}
    actions = {"validationActions": ["Deny"]} if sort == "Validating" else {}
    return (
        {
            "apiVersion": ADMISSION,
            "kind": f"{sort}AdmissionPolicy",
            "metadata": {"name": "rules"},
            "spec": {"matchConstraints": constraints, **spec},
        },
        {
            "apiVersion": ADMISSION,
            "kind": f"{sort}AdmissionPolicyBinding",
            "metadata": {"name": "bound"},
            "spec": {"policyName": "rules", **actions},
        },
    )


async def test_a_policy_is_evaluated_on_the_version_that_it_names(
    bench: Bench, hooks: HookServer
) -> None:
    del hooks
    expression = (
        "object.spec.targetCPUUtilizationPercentage < 60 || request.requestKind.version != 'v2'"
    )
    validations = [{"expression": expression, "message": "too busy"}]
    await _configure(bench, *_policy("Validating", HPA_V1, validations=validations))
    with pytest.raises(ApiError, match="too busy"):
        await bench.create(_autoscaler())


@pytest.mark.parametrize(
    "constraints",
    [
        pytest.param({"matchPolicy": "Exact"}, id="exact"),
        pytest.param(
            {"excludeResourceRules": [{**HPA_V1, "apiVersions": ["v1"]}]},
            id="excluded by another version",
        ),
    ],
)
async def test_a_policy_that_does_not_cover_the_version(
    bench: Bench, hooks: HookServer, constraints: dict[str, Any]
) -> None:
    del hooks
    spec = {"validations": [{"expression": "false"}], "constraints": constraints}
    await _configure(bench, *_policy("Validating", HPA_V1, **spec))
    await bench.create(_autoscaler())


async def test_a_policy_changes_a_version_that_was_not_asked_for(
    bench: Bench, hooks: HookServer
) -> None:
    del hooks
    path = "/spec/targetCPUUtilizationPercentage"
    expression = f"[JSONPatch{{op: 'replace', path: '{path}', value: 40}}]"
    mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
    spec = {"mutations": [mutation], "reinvocationPolicy": "Never"}
    await _configure(bench, *_policy("Mutating", HPA_V1, **spec))
    made = await bench.create(_autoscaler())
    assert made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 40
