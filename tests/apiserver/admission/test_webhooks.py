"""Webhooks over real HTTPS: what they are asked, what they may do, and what they cannot break."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from apiserver import notes
from apiserver.admission.webhook.client import RESPONSE_BYTES_MAX
from apiserver.registry.call import DeleteOptions
from apiserver.storage import codec
from kubraft.api.errors import ApiError
from kubraft.api.gvk import NAMESPACE, POD, GroupVersionKind, gvk_of
from kubraft.api.gvk import VALIDATING_WEBHOOK_CONFIGURATION as _VALIDATING
from kubraft.api.object import Object
from tests.apiserver.admission.hooks_server import (
    HookServer,
    configuration,
    label,
    namespace,
    patch,
)
from tests.apiserver.harness import Bench, pod, service, simple
from tests.harness.eventually import eventually


def _pod(name: str = "web", **labels: str) -> Object:
    made = pod(name)
    made["metadata"]["labels"] = {"app": "web", **labels}
    return made


async def _configure(bench: Bench, kind: str, *rows: dict[str, Any], name: str = "hooks") -> None:
    made = await bench.writer.create(configuration(kind, *rows, name=name))
    await eventually(lambda: bench.reader.get(gvk_of(made), "", name), timeout_s=30)


async def _refusal(bench: Bench, obj: Object, **options: Any) -> dict[str, Any]:
    with pytest.raises(ApiError) as caught:
        await bench.create(obj, **options)
    return caught.value.to_status()


async def test_a_webhook_changes_an_object_and_sees_what_it_is(
    bench: Bench, hooks: HookServer
) -> None:
    hooks.answers["/add"] = lambda _: label("added", "yes")
    await _configure(bench, "Mutating", hooks.hook("/add"))
    made = await bench.create(_pod(), field_manager="tester")
    assert made["metadata"]["labels"]["added"] == "yes"
    ((_, asked),) = hooks.asked
    assert asked["operation"] == "CREATE"
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert asked["requestResource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert (asked["namespace"], asked["name"]) == ("default", "web")
    assert asked["userInfo"] == {"username": "admin", "groups": ["system:masters"]}
    assert asked["object"]["spec"]["serviceAccountName"] == "default"  # after built-in plugins
    assert asked["oldObject"] is None
    assert asked["dryRun"] is False
    assert asked["options"]["kind"] == "CreateOptions"
    assert asked["options"]["fieldManager"] == "tester"


async def test_connections_are_kept(bench: Bench, hooks: HookServer) -> None:
    hooks.answers["/ok"] = lambda _: {}
    await _configure(bench, "Validating", hooks.hook("/ok"))
    for index in range(5):
        await bench.create(_pod(f"p{index}"))
    assert len(hooks.asked) == 5
    assert len(hooks.connections) == 1


@pytest.mark.parametrize(
    ("status", "code", "reason", "message"),
    [
        ({"message": "no such team"}, 400, None, "denied the request: no such team"),
        ({"code": 403, "message": "m", "reason": "Forbidden"}, 403, "Forbidden", "request: m"),
        ({"reason": "Conflict", "code": 409}, 409, "Conflict", "denied the request: Conflict"),
        ({"code": 200, "message": "m"}, 400, None, "denied the request: m"),
        (None, 400, None, "denied the request without explanation"),
    ],
)
@pytest.mark.parametrize("kind", ["Mutating", "Validating"])
async def test_denials_are_passed_on(  # noqa: PLR0917
    bench: Bench, hooks: HookServer, kind: str, status: Any, code: int, reason: str, message: str
) -> None:
    hooks.answers["/no"] = lambda _: {"allowed": False, **({"status": status} if status else {})}
    await _configure(bench, kind, hooks.hook("/no", failurePolicy="Ignore"))
    refused = await _refusal(bench, _pod())
    assert refused["code"] == code
    assert refused.get("reason") == reason
    assert refused["message"].startswith('admission webhook "no.hooks.test" denied the request')
    assert refused["message"].endswith(message)


def _redirect(_: Any) -> web.Response:
    return web.Response(status=307, headers={"location": "https://127.0.0.1:1/other"})


def _giant(_: Any) -> bytes:
    return b'{"response": "' + b"x" * (RESPONSE_BYTES_MAX + 1) + b'"}'


_FAULTS = [
    ("hang", "context deadline exceeded"),
    (_redirect, "failed to call webhook: the webhook answered with a redirect (307)"),
    (_giant, f"failed to call webhook: the answer of the webhook is over {RESPONSE_BYTES_MAX}"),
    (b"{nonsense", "received invalid webhook response: couldn't decode the answer"),
    (b'{"kind":"AdmissionReview"}', "received invalid webhook response: webhook response was "),
    ({"uid": "another"}, "received invalid webhook response: expected response.uid="),
    ({"allowed": "yes"}, "has the wrong type"),
    (
        lambda _: web.Response(status=500, text="broken"),
        'an error on the server ("broken") has prevented the request from succeeding',
    ),
    (
        lambda _: web.Response(status=404),
        "failed to call webhook: the server could not find the requested resource",
    ),
]
_MUTATING_FAULTS = [
    ({"patch": "e30=", "patchType": "JSONPatch"}, "received undecodable patch in webhook response"),
    ({"patch": "W10="}, "webhook returned response.patch but not response.patchType"),
    ({"patchType": "JSONPatch"}, "webhook returned response.patchType but not response.patch"),
]
_VALIDATING_FAULTS = [
    (label("a", "b"), "validating webhook may not return response.patch"),
]


@pytest.mark.parametrize(
    ("kind", "fault", "message"),
    [
        *(("Mutating", *row) for row in (*_FAULTS, *_MUTATING_FAULTS)),
        *(("Validating", *row) for row in (*_FAULTS, *_VALIDATING_FAULTS)),
    ],
)
async def test_a_webhook_that_fails_fails_the_request_or_is_passed_over(
    bench: Bench, hooks: HookServer, kind: str, fault: Any, message: str
) -> None:
    hooks.answers["/bad"] = fault if callable(fault) else lambda _: fault
    row = hooks.hook("/bad", timeoutSeconds=1 if fault == "hang" else 30)
    await _configure(bench, kind, row)
    refused = await _refusal(bench, _pod())
    assert (refused["code"], refused["reason"]) == (500, "InternalError")
    begin = 'Internal error occurred: failed calling webhook "bad.hooks.test": '
    assert refused["message"].startswith(begin)
    assert message in refused["message"]
    if fault != "hang":
        config = configuration(kind, {**row, "failurePolicy": "Ignore"})
        await bench.writer.update(config)
        await eventually(lambda: _is_ignored(bench, kind))
        await bench.create(_pod())


def _is_ignored(bench: Bench, kind: str) -> bool:
    group = ("admissionregistration.k8s.io", "v1")
    found = bench.reader.get(GroupVersionKind(*group, f"{kind}WebhookConfiguration"), "", "hooks")
    return found is not None and found["webhooks"][0]["failurePolicy"] == "Ignore"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"caBundle": ""},
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        ),
        ({"url": "https://127.0.0.1:1/x"}, "dial tcp 127.0.0.1:1: connect: connection refused"),
        ({"caBundle": "bm9uc2Vuc2U="}, "unable to load root certificates"),
        (
            {"url": None, "service": {"name": "hooks", "namespace": "default", "port": 443}},
            'failed to call webhook: service "hooks" not found',
        ),
    ],
)
async def test_who_cannot_be_reached_is_said(
    bench: Bench, hooks: HookServer, config: dict[str, Any], message: str
) -> None:
    row = hooks.hook("/x")
    made = {**row["clientConfig"], **config}
    row["clientConfig"] = {key: value for key, value in made.items() if value is not None}
    await _configure(bench, "Validating", row)
    assert message in (await _refusal(bench, _pod()))["message"]


async def test_a_service_is_resolved_to_a_ready_pod(bench: Bench, hooks: HookServer) -> None:
    await bench.writer.create(
        service("hooks", selector={"app": "hooks"}, ports=[{"port": 443, "targetPort": "tls"}])
    )
    backend = pod("backend")
    backend["metadata"]["labels"] = {"app": "hooks"}
    port = {"name": "tls", "containerPort": hooks.port}
    backend["spec"]["containers"][0]["ports"] = [port]
    made = await bench.writer.create(backend)
    hooks.answers["/path"] = lambda _: {"warnings": ["reached"]}
    row = hooks.hook("/path")
    row["clientConfig"] = {
        "caBundle": hooks.bundle,
        "service": {"name": "hooks", "namespace": "default", "path": "/path"},
    }
    await _configure(bench, "Validating", row)
    message = (await _refusal(bench, _pod()))["message"]
    assert 'no endpoints available for service "hooks"' in message
    ready = [{"type": "Ready", "status": "True"}]
    made["status"] = {**made["status"], "podIP": "127.0.0.1", "conditions": ready}
    await bench.writer.update(made, "status")
    await eventually(
        lambda: (bench.reader.get(POD, "default", "backend") or {})["status"].get("podIP")
    )
    # The certificate is one for hooks.default.svc, which this one is not.
    message = (await _refusal(bench, _pod()))["message"]
    assert "x509: certificate is not valid for hooks.default.svc" in message
    assert 'Post "https://hooks.default.svc:443/path?timeout=10s"' in message


async def test_one_that_hangs_holds_up_nobody_else(bench: Bench, hooks: HookServer) -> None:
    hooks.answers["/hang"] = lambda _: "hang"
    hooks.answers["/no"] = lambda _: {"allowed": False, "status": {"message": "at once"}}
    selector = {"matchLabels": {"slow": "yes"}}
    await _configure(
        bench,
        "Validating",
        hooks.hook("/hang", timeoutSeconds=30, objectSelector=selector),
        hooks.hook("/no"),
    )
    slow = [asyncio.create_task(bench.create(_pod(f"s{n}", slow="yes"))) for n in range(80)]
    try:
        # All connections that one host may have are taken.
        await eventually(lambda: hooks.paths().count("/hang") == 64, timeout_s=30)
        async with asyncio.timeout(30):
            await bench.create(simple("ConfigMap", "other"))  # what it is not asked about
    finally:
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
    refused = await _refusal(bench, _pod("fast"))
    assert refused["message"].endswith("denied the request: at once")


async def test_dry_runs_do_not_reach_webhooks_with_side_effects(
    bench: Bench, hooks: HookServer
) -> None:
    hooks.answers["/pure"] = lambda _: {}
    await _configure(bench, "Validating", hooks.hook("/pure", sideEffects="NoneOnDryRun"))
    await bench.create(_pod(), dry_run=True)
    assert hooks.asked[0][1]["dryRun"] is True
    some = configuration("Validating", hooks.hook("/pure", sideEffects="Some"), name="more")
    # Old configurations may say so; new ones may not.
    key = "/registry/validatingwebhookconfigurations/more"
    some["metadata"].update(uid="u", creationTimestamp="2026-01-01T00:00:00Z")
    await bench.store.create(key, codec.encode(some))
    await eventually(lambda: bench.reader.get(_VALIDATING, "", "more"))
    refused = await _refusal(bench, _pod(), dry_run=True)
    assert refused["code"] == 400
    assert refused["message"] == 'admission webhook "pure.hooks.test" does not support dry run'


async def test_who_is_asked_again_hears_of_later_changes(bench: Bench, hooks: HookServer) -> None:
    hooks.answers["/first"] = lambda _: {}
    hooks.answers["/once"] = lambda _: {}
    hooks.answers["/later"] = lambda r: label("later", "yes")
    await _configure(
        bench,
        "Mutating",
        hooks.hook("/first", reinvocationPolicy="IfNeeded"),
        hooks.hook("/once"),
        hooks.hook("/later"),
    )
    await bench.create(_pod())
    assert hooks.paths() == ["/first", "/once", "/later", "/first"]
    assert hooks.asked[-1][1]["object"]["metadata"]["labels"]["later"] == "yes"


async def test_what_a_webhook_adds_is_completed_and_validated(
    bench: Bench, hooks: HookServer
) -> None:
    container = {"name": "side", "image": "i", "unknown": 1}
    hooks.answers["/inject"] = lambda _: patch(
        {"op": "add", "path": "/spec/containers/-", "value": container}
    )
    await _configure(bench, "Mutating", hooks.hook("/inject"))
    made = await bench.create(_pod())
    side = made["spec"]["containers"][1]
    assert side["imagePullPolicy"] == "Always"
    assert "unknown" not in side
    assert side["volumeMounts"]  # the ServiceAccount plugin ran again
    hooks.answers["/inject"] = lambda _: patch(
        {"op": "add", "path": "/spec/containers/-", "value": {"name": "UPPER", "image": "i"}}
    )
    assert (await _refusal(bench, _pod("b")))["reason"] == "Invalid"
    hooks.answers["/inject"] = lambda _: patch({"op": "remove", "path": "/nothing"})
    assert (await _refusal(bench, _pod("c")))["code"] == 500
    hooks.answers["/inject"] = lambda _: patch(
        {"op": "replace", "path": "/metadata/name", "value": "x"}
    )
    assert (await _refusal(bench, _pod("d")))["code"] == 500


_RULE = {
    "operations": ["*"],
    "apiGroups": ["*"],
    "apiVersions": ["*"],
    "resources": ["*/*"],
}


@pytest.mark.parametrize(
    ("fields", "is_asked"),
    [
        ({}, True),
        ({"rules": [{**_RULE, "scope": "Namespaced"}]}, True),
        ({"rules": [{**_RULE, "scope": "Cluster"}]}, False),
        ({"rules": [{**_RULE, "operations": ["UPDATE"]}]}, False),
        ({"rules": [{**_RULE, "resources": ["*"]}]}, True),
        ({"rules": [{**_RULE, "resources": ["pods/*"]}]}, True),
        ({"rules": [{**_RULE, "resources": ["pods/status"]}]}, False),
        ({"rules": [{**_RULE, "apiGroups": ["apps"]}]}, False),
        ({"rules": [{**_RULE, "apiVersions": ["v2"]}]}, False),
        ({"objectSelector": {"matchLabels": {"app": "web"}}}, True),
        ({"objectSelector": {"matchLabels": {"app": "db"}}}, False),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}, True),
        (
            {
                "namespaceSelector": {
                    "matchExpressions": [
                        {
                            "key": "kubernetes.io/metadata.name",
                            "operator": "NotIn",
                            "values": ["default"],
                        }
                    ]
                }
            },
            False,
        ),
        ({"matchConditions": [{"name": "a", "expression": "request.name == 'web'"}]}, True),
        ({"matchConditions": [{"name": "a", "expression": "object.metadata.name == 'x'"}]}, False),
        (
            {
                "matchConditions": [
                    {"name": "a", "expression": "object.nothing == 1"},
                    {"name": "b", "expression": "oldObject != null"},
                ]
            },
            False,
        ),
    ],
)
async def test_rules_say_what_a_webhook_is_asked_about(
    bench: Bench, hooks: HookServer, fields: dict[str, Any], is_asked: bool
) -> None:
    hooks.answers["/x"] = lambda _: {}
    await _configure(bench, "Validating", hooks.hook("/x", **fields))
    await bench.create(_pod())
    assert bool(hooks.asked) is is_asked


async def test_a_condition_without_value_fails_as_the_policy_says(
    bench: Bench, hooks: HookServer
) -> None:
    conditions = [{"name": "a", "expression": "object.nothing == 1"}]
    await _configure(bench, "Validating", hooks.hook("/x", matchConditions=conditions))
    refused = await _refusal(bench, _pod())
    assert refused["message"] == (
        "pods \"web\" is forbidden: expression 'object.nothing == 1' resulted in error: "
        "no such key: nothing"
    )


async def test_configurations_themselves_are_out_of_reach(bench: Bench, hooks: HookServer) -> None:
    await _configure(bench, "Validating", hooks.hook("/never", rules=[_RULE]))
    await bench.create(configuration("Mutating", name="other"))
    call = bench.call(_VALIDATING, "hooks")
    await bench.registry.delete(replace(call), DeleteOptions())
    assert hooks.asked == []


async def test_deletes_and_namespaces_are_seen_with_their_old_objects(
    bench: Bench, hooks: HookServer
) -> None:
    hooks.answers["/x"] = lambda _: {}
    rule = {**_RULE, "operations": ["DELETE"]}
    selector = {"matchLabels": {"team": "a"}}
    await _configure(
        bench, "Validating", hooks.hook("/x", rules=[rule], namespaceSelector=selector)
    )
    await bench.create(namespace("team-a", team="a"))
    await bench.create(namespace("team-b", team="b"))
    for name in ("team-a", "team-b"):
        await eventually(partial(bench.reader.get, NAMESPACE, "", name))
        await bench.registry.delete(bench.call(NAMESPACE, name), DeleteOptions(grace_period_s=0))
    ((_, asked),) = hooks.asked
    assert (asked["operation"], asked["name"], asked["namespace"]) == ("DELETE", "team-a", "team-a")
    assert asked["object"] is None
    assert asked["oldObject"]["metadata"]["labels"]["team"] == "a"
    assert asked["options"] == {
        "kind": "DeleteOptions",
        "apiVersion": "meta.k8s.io/v1",
        "gracePeriodSeconds": 0,
    }


async def test_warnings_and_annotations_reach_the_request(bench: Bench, hooks: HookServer) -> None:
    hooks.answers["/x"] = lambda _: {
        "warnings": ["mind the gap"],
        "auditAnnotations": {"key": "value"},
    }
    await _configure(bench, "Validating", hooks.hook("/x"))
    said = notes.begin()
    await bench.create(_pod())
    assert said.warnings == ["mind the gap"]
    assert said.annotations["x.hooks.test/key"] == "value"


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"name": "short"}, "name", "should be a domain with at least three segments"),
        ({"sideEffects": "Some"}, "sideEffects", 'supported values: "None", "NoneOnDryRun"'),
        ({"timeoutSeconds": 31}, "timeoutSeconds", "must be between 1 and 30 seconds"),
        ({"admissionReviewVersions": ["v9"]}, "admissionReviewVersions", "must include at least"),
        ({"clientConfig": {}}, "clientConfig", "exactly one of url or service is required"),
        ({"clientConfig": {"url": "http://x"}}, "clientConfig.url", "only allowed URL scheme"),
        (
            {"matchConditions": [{"name": "a", "expression": "object."}]},
            "matchConditions[0].expression",
            "compilation failed",
        ),
        (
            {"rules": [{**_RULE, "operations": ["READ"]}]},
            "rules[0].operations[0]",
            'Unsupported value: "READ"',
        ),
    ],
)
async def test_configurations_are_validated(
    bench: Bench, hooks: HookServer, fields: dict[str, Any], field: str, message: str
) -> None:
    refused = await _refusal(bench, configuration("Mutating", hooks.hook("/x", **fields)))
    assert refused["reason"] == "Invalid"
    causes = {cause["field"]: cause["message"] for cause in refused["details"]["causes"]}
    assert message in causes[f"webhooks[0].{field}"]
