"""What is written of requests over HTTPS, at each level."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from apiserver import notes
from apiserver.audit.policy import read_policy
from apiserver.audit.record import Auditor
from apiserver.connect.front import ConnectFront
from apiserver.rest.front import RestFront
from apiserver.rpc.logs import PodLogs
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from kubraft.health.front import HealthFront
from tests.apiserver.harness import AllowAll, Bench, simple
from tests.apiserver.rest.conftest import Rest
from tests.harness.eventually import eventually


@asynccontextmanager
async def audited(bench: Bench, pki: Any, *rules: dict[str, Any]) -> AsyncIterator[Any]:
    """A front whose audit log is a list."""
    import ssl

    lines: list[dict[str, Any]] = []
    policy = read_policy({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules)})
    auditor = Auditor(policy, lambda line: lines.append(json.loads(line)), bench.clock.now)
    logs = PodLogs(bench.registry, None)
    front = RestFront(
        bench.registry,
        AllowAll(),
        HealthFront({"livez": {}, "readyz": {}, "healthz": {}}),
        logs,
        ConnectFront(bench.registry, bench.reader, Random(1), None),
        address="127.0.0.1:6443",
        is_ready=lambda: True,
        audit=auditor,
    )
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    server = GrpcServer(Limits(), http=front.handle)
    port = server.listen("127.0.0.1", 0, own)
    await server.start()
    try:
        yield Rest(bench, port, ssl.create_default_context(cafile=pki / "ca.crt")), lines
    finally:
        await server.stop(0)
        await logs.close()


PATH = "/api/v1/namespaces/default/secrets"
SECRET = simple("Secret", "s", stringData={"p": "hush"})


@pytest.mark.parametrize("level", ["Metadata", "Request", "RequestResponse"])
async def test_levels(bench: Bench, pki: Any, level: str) -> None:
    async with audited(
        bench, pki, {"level": level, "nonResourceURLs": ["/x"]}, {"level": level}
    ) as (
        rest,
        lines,
    ):
        answer = await rest.ask(
            "POST", f"{PATH}?fieldManager=me", SECRET, user_agent="tester/1", audit_id="the-id"
        )
        assert answer.status == 201
        assert answer.headers["audit-id"] == "the-id"
        await eventually(lambda: len(lines) == 2)
    received, complete = lines
    assert (received["stage"], complete["stage"]) == ("RequestReceived", "ResponseComplete")
    for event in lines:
        assert event["level"] == level
        assert event["auditID"] == "the-id"
        assert event["verb"] == "create"
        assert event["requestURI"] == f"{PATH}?fieldManager=me"
        assert event["user"] == {
            "username": "system:anonymous",
            "groups": ["system:unauthenticated"],
        }
        assert event["sourceIPs"] == ["127.0.0.1"]
        assert event["userAgent"] == "tester/1"
    assert complete["responseStatus"] == {"metadata": {}, "code": 201}
    assert complete["requestReceivedTimestamp"] == "2026-01-02T03:04:05.000000Z"
    assert complete["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert complete["objectRef"]["resource"] == "secrets"
    assert ("hush" in json.dumps(complete)) is (level != "Metadata")
    assert complete.get("requestObject", {}).get("stringData") == (
        {"p": "hush"} if level != "Metadata" else None
    )
    assert ("responseObject" in complete) is (level == "RequestResponse")
    assert "requestObject" not in received


async def test_refusals_say_why(bench: Bench, pki: Any) -> None:
    async with audited(bench, pki, {"level": "Metadata"}) as (rest, lines):
        assert (await rest.ask("GET", f"{PATH}/none")).status == 404
        await eventually(lambda: len(lines) == 2)
    status = lines[-1]["responseStatus"]
    assert (status["code"], status["reason"]) == (404, "NotFound")
    assert status["message"] == 'secrets "none" not found'
    assert lines[-1]["objectRef"] == {
        "resource": "secrets",
        "namespace": "default",
        "name": "none",
        "apiVersion": "v1",
    }


async def test_watches_have_a_stage_of_their_own_and_stages_can_be_left_out(
    bench: Bench, pki: Any
) -> None:
    rule = {"level": "Metadata", "omitStages": ["RequestReceived"]}
    async with audited(bench, pki, rule) as (rest, lines):
        await rest.ask("GET", f"{PATH}?watch=1&timeoutSeconds=1")
        await eventually(lambda: len(lines) == 2)
    assert [event["stage"] for event in lines] == ["ResponseStarted", "ResponseComplete"]


async def test_none_writes_nothing_and_impersonation_is_told(bench: Bench, pki: Any) -> None:
    rules = ({"level": "None", "verbs": ["list"]}, {"level": "Metadata"})
    async with audited(bench, pki, *rules) as (rest, lines):
        await rest.ask("GET", PATH)
        assert lines == []
        await rest.ask("GET", f"{PATH}/none", impersonate_user="ann")
        await eventually(lambda: len(lines) == 2)
    assert lines[0]["user"]["username"] == "system:anonymous"
    assert lines[0]["impersonatedUser"]["username"] == "ann"


async def test_managed_fields_can_be_left_out(bench: Bench, pki: Any) -> None:
    rule = {"level": "RequestResponse", "omitManagedFields": True}
    made = simple("ConfigMap", "c")
    made["metadata"]["managedFields"] = [{"manager": "m", "operation": "Update"}]
    async with audited(bench, pki, rule) as (rest, lines):
        await rest.ask("POST", "/api/v1/namespaces/default/configmaps", made)
        await eventually(lambda: len(lines) == 2)
    assert "managedFields" not in json.dumps(lines)


def test_notes_are_bounded() -> None:
    said = notes.begin()
    for index in range(1000):
        notes.annotate(f"k{index}", "v" * 100_000)
        notes.warn(f"w{index}" * 1000)
    assert len(said.annotations) == notes.ANNOTATIONS_MAX
    assert len(said.warnings) == notes.WARNINGS_MAX
    assert sum(map(len, said.warnings)) < 20_000
