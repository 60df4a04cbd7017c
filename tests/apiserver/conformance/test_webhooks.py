"""Admission webhooks over HTTPS, and policies: each story has a Namespace of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kubraft.api.object import Object
from tests.apiserver.admission.hooks_server import configuration, patch
from tests.apiserver.conformance.cluster import Cluster, eventually
from tests.apiserver.conformance.definitions import (
    DEFINITIONS,
    custom,
    define,
    definition,
    version,
)
from tests.apiserver.conformance.held import conforms
from tests.apiserver.registry.kind_cases import POD_SPEC, thing

pytestmark = pytest.mark.asyncio(loop_scope="session")

OF = "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] "
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
PATHS = {
    "Mutating": f"{ADMISSION}/mutatingwebhookconfigurations",
    "Validating": f"{ADMISSION}/validatingwebhookconfigurations",
}
DENIED = {"allowed": False, "status": {"message": "this contains unwanted data", "code": 403}}


def _rule(resource: str, *operations: str, group: str = "", at: str = "v1") -> dict[str, Any]:
    return {
        "operations": list(operations or ("CREATE", "UPDATE")),
        "apiGroups": [group],
        "apiVersions": [at],
        "resources": [resource],
    }


@asynccontextmanager
async def _hooked(
    cluster: Cluster, kind: str, *rows: dict[str, Any], namespace: str = "", **fields: Any
) -> AsyncIterator[str]:
    """While a configuration is there; the name of it. Its rows are those of HookServer.hook."""
    hooks = []
    for row in rows:
        hook = {**row, **fields}
        if namespace:
            labels = {"kubernetes.io/metadata.name": namespace.rpartition("/")[2]}
            hook["namespaceSelector"] = {"matchLabels": labels}
        hooks.append(hook)
    name = cluster.name("hooks")
    await cluster.create(PATHS[kind], configuration(kind, *hooks, name=name))
    try:
        yield f"{PATHS[kind]}/{name}"
    finally:
        await cluster.ask("DELETE", f"{PATHS[kind]}/{name}")


def _hook(cluster: Cluster, path: str, rule: dict[str, Any], answer: Any, **fields: Any) -> Any:
    cluster.hooks.answers[path] = answer
    return cluster.hooks.hook(path, rules=[rule], **fields)


def _map(name: str, **data: str) -> Object:
    return thing("v1", "ConfigMap", name, data=data)


def _deny_unwanted(request: dict[str, Any]) -> dict[str, Any]:
    data = (request.get("object") or request["oldObject"]).get("data") or {}
    return DENIED if data.get("webhook-e2e-test") == "webhook-disallow" else {}


@conforms(f"{OF}should be able to deny pod and configmap creation")
async def test_pods_and_configmaps_are_denied(cluster: Cluster) -> None:
    namespace, other = await cluster.namespace(), await cluster.namespace()
    of_pods = _hook(cluster, "/deny-pods", _rule("pods"), lambda _: DENIED)
    of_maps = _hook(cluster, "/deny-maps", _rule("configmaps"), _deny_unwanted)
    bad = {"webhook-e2e-test": "webhook-disallow"}
    async with _hooked(cluster, "Validating", of_pods, of_maps, namespace=namespace):
        pod = thing("v1", "Pod", "p", spec=POD_SPEC)
        message = await cluster.refused(403, "POST", f"{namespace}/pods", pod)
        assert message.endswith("denied the request: this contains unwanted data")
        maps = f"{namespace}/configmaps"
        await cluster.refused(403, "POST", maps, _map("m", **bad))
        made = await cluster.create(maps, _map("m", a="b"))
        await cluster.refused(403, "PUT", f"{maps}/m", {**made, "data": bad})
        merge = "application/merge-patch+json"
        answer = await cluster.ask("PATCH", f"{maps}/m", {"data": bad}, kind=merge)
        assert answer.status == 403
        await cluster.create(f"{other}/configmaps", _map("m", **bad))


@conforms(f"{OF}should be able to deny custom resource creation, update and deletion")
async def test_custom_objects_are_denied(cluster: Cluster) -> None:
    made = await define(cluster, custom(cluster))
    rule = _rule(made.plural, "CREATE", "UPDATE", "DELETE", group=made.group)
    hook = _hook(cluster, "/deny-custom", rule, _deny_unwanted)
    bad = {"webhook-e2e-test": "webhook-disallow"}
    async with _hooked(cluster, "Validating", hook):
        await cluster.refused(403, "POST", made.path(), made.make("x", data=bad))
        good = await cluster.create(made.path(), made.make("x", data={"a": "b"}))
        await cluster.refused(403, "PUT", f"{made.path()}/x", {**good, "data": bad})
        cluster.hooks.answers["/deny-custom"] = lambda r: (
            DENIED if r["operation"] == "DELETE" else {}
        )
        await cluster.refused(403, "DELETE", f"{made.path()}/x")
        cluster.hooks.answers["/deny-custom"] = lambda _: {}
        await cluster.delete(f"{made.path()}/x")


@conforms(f"{OF}should deny crd creation")
async def test_definitions_are_denied(cluster: Cluster) -> None:
    rule = _rule("customresourcedefinitions", "CREATE", group="apiextensions.k8s.io", at="*")
    hook = _hook(cluster, "/deny-definitions", rule, lambda _: DENIED)
    label = cluster.name("denied")
    selector = {"matchLabels": {"story": label}}
    async with _hooked(cluster, "Validating", hook, objectSelector=selector):
        made = definition(custom(cluster), labels={"story": label})
        await cluster.refused(403, "POST", DEFINITIONS, made)


@conforms(f"{OF}should unconditionally reject operations on fail closed webhook")
async def test_who_cannot_be_asked_has_said_no(cluster: Cluster) -> None:
    namespace = await cluster.namespace()
    hook = _hook(cluster, "/unasked", _rule("configmaps"), lambda _: {})
    hook["clientConfig"].pop("caBundle")
    async with _hooked(cluster, "Validating", hook, namespace=namespace):
        await cluster.refused(500, "POST", f"{namespace}/configmaps", _map("m"))


@conforms(f"{OF}should honor timeout")
@pytest.mark.parametrize(("timeout_s", "policy", "status"), [(1, "Fail", 500), (1, "Ignore", 201)])
async def test_a_webhook_is_waited_for_as_long_as_it_says(
    cluster: Cluster, timeout_s: int, policy: str, status: int
) -> None:
    namespace = await cluster.namespace()
    hook = _hook(cluster, "/slow", _rule("configmaps"), lambda _: "hang")
    fields = {"timeoutSeconds": timeout_s, "failurePolicy": policy}
    async with _hooked(cluster, "Validating", hook, namespace=namespace, **fields):
        answer = await cluster.ask("POST", f"{namespace}/configmaps", _map("m"))
        assert answer.status == status, answer.body


def _adding(key: str, *, after: str) -> Any:
    """A webhook that adds a key to data where another is there."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if after not in (request["object"].get("data") or {}):
            return {}
        return patch({"op": "add", "path": f"/data/{key}", "value": "yes"})

    return answer


@conforms(f"{OF}should mutate configmap")
async def test_webhooks_see_what_those_before_have_done(cluster: Cluster) -> None:
    namespace = await cluster.namespace()
    rule = _rule("configmaps", "CREATE")
    first = _hook(cluster, "/stage-1", rule, _adding("mutation-stage-1", after="mutation-start"))
    second = _hook(cluster, "/stage-2", rule, _adding("mutation-stage-2", after="mutation-stage-1"))
    async with _hooked(cluster, "Mutating", first, second, namespace=namespace):
        obj = _map("m", **{"mutation-start": "yes"})
        made = await cluster.create(f"{namespace}/configmaps", obj)
    assert made["data"].keys() == {"mutation-start", "mutation-stage-1", "mutation-stage-2"}


@conforms(f"{OF}should mutate everything except 'skip-me' configmaps")
async def test_conditions_leave_objects_out(cluster: Cluster) -> None:
    namespace = await cluster.namespace()
    rule = _rule("configmaps", "CREATE")
    hook = _hook(cluster, "/skipping", rule, _adding("added", after="start"))
    conditions = [{"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}]
    async with _hooked(cluster, "Mutating", hook, namespace=namespace, matchConditions=conditions):
        for name, keys in (("skip-me", {"start"}), ("change-me", {"start", "added"})):
            made = await cluster.create(f"{namespace}/configmaps", _map(name, start="yes"))
            assert made["data"].keys() == keys


@conforms(f"{OF}should mutate pod and apply defaults after mutation")
async def test_what_a_webhook_adds_is_filled_in(cluster: Cluster) -> None:
    namespace = await cluster.namespace()
    container = {"image": "webhook-added-image", "name": "webhook-added-init-container"}
    change = patch({"op": "add", "path": "/spec/initContainers", "value": [container]})
    hook = _hook(cluster, "/init-container", _rule("pods", "CREATE"), lambda _: change)
    async with _hooked(cluster, "Mutating", hook, namespace=namespace):
        pod = await cluster.create(f"{namespace}/pods", thing("v1", "Pod", "p", spec=POD_SPEC))
    assert pod["spec"]["initContainers"][0]["terminationMessagePolicy"] == "File"


@conforms(
    f"{OF}should mutate custom resource",
    f"{OF}should mutate custom resource with different stored version",
    f"{OF}should mutate custom resource with pruning",
)
async def test_custom_objects_are_changed(cluster: Cluster) -> None:
    text = {"type": "string"}
    data = {"type": "object", "properties": {"start": text, "stage-1": text, "later": text}}
    schema = {"type": "object", "properties": {"data": data}}
    versions = (version("v1", schema), version("v2", schema, storage=False))
    made = await define(cluster, custom(cluster), *versions)
    rule = _rule(made.plural, group=made.group, at="*")
    hooks = (
        _hook(cluster, "/custom-1", rule, _adding("stage-1", after="start")),
        _hook(cluster, "/custom-2", rule, _adding("stage-2", after="stage-1")),
    )
    async with _hooked(cluster, "Mutating", *hooks):
        obj = await cluster.create(made.path(), made.make("x", data={"start": "yes"}))
        assert obj["data"].keys() == {"start", "stage-1"}  # what the schema has not is pruned
        store_v2 = [
            {"op": "replace", "path": "/spec/versions/0/storage", "value": False},
            {"op": "replace", "path": "/spec/versions/1/storage", "value": True},
        ]
        await cluster.patch(made.definition, store_v2, "json")
        obj = await cluster.patch(f"{made.path()}/x", {"data": {"later": "yes"}})
        assert obj["data"].keys() == {"start", "stage-1", "later"}


@conforms(f"{OF}should not be able to mutate or prevent deletion of webhook configuration objects")
async def test_configurations_are_out_of_reach(cluster: Cluster) -> None:
    resources = ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"]
    rule = _rule("", "CREATE", "DELETE", group="admissionregistration.k8s.io", at="*")
    rule["resources"] = resources
    added = patch({"op": "add", "path": "/metadata/labels", "value": {"added": "yes"}})
    changes = _hook(cluster, "/change-hooks", rule, lambda _: added)
    denies = _hook(cluster, "/deny-hooks", rule, lambda _: DENIED)
    async with _hooked(cluster, "Mutating", changes), _hooked(cluster, "Validating", denies):
        for kind, path in PATHS.items():
            hook = _hook(cluster, "/nothing", _rule("nothings"), lambda _: {})
            name = cluster.name("dummy")
            made = await cluster.create(path, configuration(kind, hook, name=name))
            assert "labels" not in made["metadata"]
            await cluster.delete(f"{path}/{name}")


@conforms(
    f"{OF}listing mutating webhooks should work",
    f"{OF}listing validating webhooks should work",
    f"{OF}patching/updating a mutating webhook should work",
    f"{OF}patching/updating a validating webhook should work",
)
@pytest.mark.parametrize("kind", PATHS)
async def test_configurations_are_listed_and_changed(cluster: Cluster, kind: str) -> None:
    namespace = await cluster.namespace()
    label, path = cluster.name("list"), PATHS[kind]
    answer: Any = _deny_unwanted
    if kind == "Mutating":
        answer = _adding("added", after="webhook-e2e-test")
    hook = _hook(cluster, f"/listed-{kind.lower()}", _rule("configmaps", "CREATE"), answer)
    names = {"kubernetes.io/metadata.name": namespace.rpartition("/")[2]}
    hook["namespaceSelector"] = {"matchLabels": names}
    chosen = f"{path}?labelSelector=story%3D{label}"
    for _ in range(3):
        made = configuration(kind, hook, name=cluster.name("hooks"))
        made["metadata"]["labels"] = {"story": label}
        made = await cluster.create(path, made)
    assert len(await cluster.items(chosen)) == 3
    assert await _touched(cluster, namespace)
    await cluster.delete(chosen)
    assert await cluster.items(chosen) == []
    assert not await _touched(cluster, namespace)

    made["metadata"].pop("resourceVersion")
    made = await cluster.create(path, made)
    own = f"{path}/{made['metadata']['name']}"
    made["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    await cluster.update(own, made)
    assert not await _touched(cluster, namespace)
    again = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]
    await cluster.patch(own, again, "json")
    assert await _touched(cluster, namespace)
    await cluster.delete(own)


async def _touched(cluster: Cluster, namespace: str) -> bool:
    """Whether webhooks deny or change a ConfigMap."""
    obj = _map(cluster.name("m"), **{"webhook-e2e-test": "webhook-disallow"})
    answer = await cluster.ask("POST", f"{namespace}/configmaps", obj)
    return answer.status == 403 or "added" in answer.json()["data"]


@conforms(
    f"{OF}should be able to create and update mutating webhook configurations with match "
    "conditions",
    f"{OF}should be able to create and update validating webhook configurations with match "
    "conditions",
    f"{OF}should reject mutating webhook configurations with invalid match conditions",
    f"{OF}should reject validating webhook configurations with invalid match conditions",
)
@pytest.mark.parametrize("kind", PATHS)
async def test_match_conditions_are_kept_or_refused(cluster: Cluster, kind: str) -> None:
    conditions = [{"name": "one", "expression": "object.metadata.name == 'x'"}]
    hook = _hook(cluster, "/conditions", _rule("nothings"), lambda _: {})
    async with _hooked(cluster, kind, hook, matchConditions=conditions) as path:
        made = await cluster.get(path)
        assert made["webhooks"][0]["matchConditions"] == conditions
        more = [*conditions, {"name": "two", "expression": "true"}]
        made["webhooks"][0]["matchConditions"] = more
        await cluster.update(path, made)
        assert (await cluster.get(path))["webhooks"][0]["matchConditions"] == more
    hook["matchConditions"] = [{"name": "bad", "expression": "... [] bad expression"}]
    made = configuration(kind, hook, name=cluster.name("hooks"))
    message = await cluster.refused(422, "POST", PATHS[kind], made)
    assert "compilation failed" in message


POLICY = "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should "


@conforms(
    f"{POLICY}validate against a Deployment",
    f"{POLICY}allow expressions to refer variables.",
)
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(
            {"validations": [{"expression": "object.spec.replicas > 1"}]}, id="an expression"
        ),
        pytest.param(
            {
                "variables": [
                    {"name": "replicas", "expression": "object.spec.replicas"},
                    {"name": "enough", "expression": "variables.replicas > 1"},
                ],
                "validations": [{"expression": "variables.enough"}],
            },
            id="variables",
        ),
    ],
)
async def test_a_policy_validates_deployments(cluster: Cluster, spec: dict[str, Any]) -> None:
    namespace = await cluster.namespace()
    name = cluster.name("policy")
    match = {"resourceRules": [_rule("deployments", group="apps")]}
    policies = f"{ADMISSION}/validatingadmissionpolicies"
    policy = thing("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", name)
    await cluster.create(policies, {**policy, "spec": {"matchConstraints": match, **spec}})
    names = {"kubernetes.io/metadata.name": namespace.rpartition("/")[2]}
    binding = thing("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", name)
    binding["spec"] = {
        "policyName": name,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": names}},
    }
    await cluster.create(f"{ADMISSION}/validatingadmissionpolicybindings", binding)
    path = f"{namespace}/deployments".replace("/api/v1", "/apis/apps/v1")

    async def denied() -> bool:
        answer = await cluster.ask("POST", f"{path}?dryRun=All", _deployment("few", 1))
        return answer.status == 422

    await eventually(denied)
    await cluster.create(path, _deployment("many", 2))
    await cluster.delete(f"{policies}/{name}")


def _deployment(name: str, replicas: int) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": POD_SPEC}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return thing("apps/v1", "Deployment", name, spec=spec)
