"""Admission of what is written below an object: evictions, bindings and scales."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.registry.call import DeleteOptions, WriteOptions
from kubraft.api.errors import ApiError, NotFoundError
from kubraft.api.gvk import DEPLOYMENT, MUTATING_WEBHOOK_CONFIGURATION, POD, gvk_of
from kubraft.api.object import Object
from tests.apiserver.admission.hooks_server import HookServer, configuration, patch
from tests.apiserver.harness import Bench, deployment, pod
from tests.harness.eventually import eventually

EVICTION: Object = {
    "apiVersion": "policy/v1",
    "kind": "Eviction",
    "metadata": {"name": "web"},
    "deleteOptions": {"gracePeriodSeconds": 0},
}
BINDING: Object = {
    "apiVersion": "v1",
    "kind": "Binding",
    "metadata": {"name": "web"},
    "target": {"kind": "Node", "name": "n"},
}


def _rule(resource: str, operation: str) -> dict[str, Any]:
    return {
        "operations": [operation],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": [resource],
    }


async def _configure(bench: Bench, *rows: dict[str, Any]) -> None:
    made = await bench.writer.create(configuration("Validating", *rows))
    await eventually(lambda: bench.reader.get(gvk_of(made), "", "hooks"))


async def _evict(bench: Bench, *, dry_run: bool = False) -> None:
    call = bench.call(POD, "web", sub="eviction")
    options = WriteOptions(dry_run=dry_run, field_manager="drainer")
    deletion = DeleteOptions(grace_period_s=0, dry_run=dry_run)
    await bench.registry.evict(call, {**EVICTION}, deletion, options)


async def test_an_eviction_is_shown_with_its_options(bench: Bench, hooks: HookServer) -> None:
    hooks.answers["/x"] = lambda _: {}
    await _configure(bench, hooks.hook("/x", rules=[_rule("pods/eviction", "CREATE")]))
    await bench.create(pod())
    await _evict(bench, dry_run=True)
    await _evict(bench)
    with pytest.raises(NotFoundError):
        await bench.get(POD, "web")
    dry, asked = (request for _, request in hooks.asked)
    assert (dry["dryRun"], asked["dryRun"]) == (True, False)
    assert asked["kind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}
    assert asked["resource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert (asked["subResource"], asked["operation"]) == ("eviction", "CREATE")
    assert asked["object"]["deleteOptions"] == {"gracePeriodSeconds": 0}
    assert asked["options"] == {
        "apiVersion": "meta.k8s.io/v1",
        "kind": "CreateOptions",
        "fieldManager": "drainer",
        "fieldValidation": "Strict",
    }


async def test_a_webhook_keeps_a_pod_from_eviction(bench: Bench, hooks: HookServer) -> None:
    hooks.answers["/x"] = lambda _: {"allowed": False, "status": {"message": "not this one"}}
    await _configure(bench, hooks.hook("/x", rules=[_rule("pods/eviction", "CREATE")]))
    await bench.create(pod())
    with pytest.raises(ApiError, match="not this one"):
        await _evict(bench)
    await bench.get(POD, "web")


async def test_an_eviction_is_no_delete_to_admission(bench: Bench, hooks: HookServer) -> None:
    hooks.answers["/x"] = lambda _: {"allowed": False}
    await _configure(bench, hooks.hook("/x", rules=[_rule("pods", "DELETE")]))
    await bench.create(pod())
    await _evict(bench)
    assert hooks.asked == []


def _scale_rule(resource: str) -> dict[str, Any]:
    return {**_rule(resource, "UPDATE"), "apiGroups": ["apps"]}


def _three(scale: Object) -> Object:
    scale["spec"] = {"replicas": 3}
    return scale


async def test_a_scale_is_shown_as_such_and_may_be_changed(bench: Bench, hooks: HookServer) -> None:
    five = {"op": "replace", "path": "/spec/replicas", "value": 5}
    hooks.answers["/change"] = lambda _: patch(five)
    hooks.answers["/x"] = lambda _: {}
    hooks.answers["/whole"] = lambda _: {"allowed": False}
    await _configure(
        bench,
        hooks.hook("/x", rules=[_scale_rule("deployments/scale")]),
        hooks.hook("/whole", rules=[_scale_rule("deployments")]),
    )
    await bench.writer.create(
        configuration("Mutating", hooks.hook("/change", rules=[_scale_rule("*/scale")]))
    )
    await eventually(lambda: bench.reader.get(MUTATING_WEBHOOK_CONFIGURATION, "", "hooks"))
    await bench.create(deployment(replicas=1))
    call = bench.call(DEPLOYMENT, "web", sub="scale")
    scale = await bench.registry.change_scale(call, "update", _three, WriteOptions())
    assert scale["spec"]["replicas"] == 5
    assert (await bench.get(DEPLOYMENT, "web"))["spec"]["replicas"] == 5
    asked = dict(hooks.asked)
    assert set(asked) == {"/change", "/x"}
    assert asked["/change"]["object"]["spec"] == {"replicas": 3}
    seen = asked["/x"]
    assert seen["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert seen["resource"] == {"group": "apps", "version": "v1", "resource": "deployments"}
    assert seen["subResource"] == "scale"
    assert (seen["oldObject"]["spec"], seen["object"]["spec"]) == (
        {"replicas": 1},
        {"replicas": 5},
    )


async def test_a_binding_is_shown_with_its_options(bench: Bench, hooks: HookServer) -> None:
    hooks.answers["/x"] = lambda _: {}
    await _configure(bench, hooks.hook("/x", rules=[_rule("pods/binding", "CREATE")]))
    await bench.create(pod())
    call = bench.call(POD, "web", sub="binding")
    await bench.registry.bind(call, {**BINDING}, WriteOptions(field_manager="scheduler"))
    ((_, asked),) = hooks.asked
    assert asked["options"]["fieldManager"] == "scheduler"
    assert asked["object"]["target"]["name"] == "n"
