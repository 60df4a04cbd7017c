"""Calls over gRPC are audited as requests over REST are: one policy, one file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from apiserver.rpc.server import OBJECTS
from kubraft.pb.v1 import objects_pb2 as pb
from tests.apiserver.in_process import ADMIN_TOKEN, Served, serving

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, resources: [{group: "", resources: [secrets]}]}
- {level: None, users: ["system:kube-scheduler"]}
- {level: RequestResponse}
"""
OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}}


@asynccontextmanager
async def calling(served: Served) -> AsyncIterator[Any]:
    credentials = grpc.ssl_channel_credentials((served.pki / "ca.crt").read_bytes())
    target = f"localhost:{served.server._options.grpc_port}"
    async with grpc.aio.secure_channel(target, credentials) as channel:

        async def call(name: str, request: Any, token: str = ADMIN_TOKEN) -> None:
            method: Any = channel.unary_unary  # what is answered is not looked at
            metadata = (("authorization", f"Bearer {token}"), ("audit-id", "id-of-a-test"))
            raw = request.SerializeToString()
            await method(f"/{OBJECTS}/{name}")(raw, metadata=metadata, timeout=60)

        yield call


async def test_calls_are_in_the_log_as_the_policy_says(tmp_path: Path, pki: Path) -> None:
    log, policy = tmp_path / "audit.log", tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    flags = (f"--audit-log-path={log}", f"--audit-policy-file={policy}")
    async with serving(tmp_path, pki, *flags) as served, calling(served) as call:
        put = pb.PutRequest(json=json.dumps(OBJECT).encode(), namespace="default")
        secret = pb.GetRequest(kind="Secret", namespace="default", name="s")
        await call("Put", put)
        await call("Kinds", pb.KindsRequest(), "scheduler-token")
        for name, request, token in (
            ("Get", secret, ADMIN_TOKEN),
            ("Get", secret, "bob-token"),
            ("Kinds", pb.KindsRequest(), "nobody's"),
        ):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(name, request, token)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    events = [event for event in events if event["requestURI"].startswith(f"/{OBJECTS}/")]
    assert [
        (e["verb"], e["user"].get("username"), e["responseStatus"]["code"], e["level"])
        for e in events
    ] == [
        ("create", "admin", 201, "RequestResponse"),
        ("get", "admin", 404, "Metadata"),
        ("get", "bob", 403, "Metadata"),
        ("post", None, 401, "RequestResponse"),
    ]
    made, missing, forbidden, _ = events
    assert made["requestObject"]["data"] == made["responseObject"]["data"] == {"a": "b"}
    assert made["objectRef"]["resource"] == "configmaps"
    assert (made["objectRef"]["namespace"], made["objectRef"]["name"]) == ("default", "x")
    assert made["auditID"] == "id-of-a-test"
    assert made["sourceIPs"] in (["127.0.0.1"], ["::1"])
    assert missing["objectRef"] == {
        "resource": "secrets", "namespace": "default", "name": "s", "apiVersion": "v1",
    }  # fmt: skip
    assert forbidden["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert made["annotations"]["authorization.k8s.io/decision"] == "allow"


async def test_a_watch_has_a_stage_when_it_begins(tmp_path: Path, pki: Path) -> None:
    log, policy = tmp_path / "audit.log", tmp_path / "policy.yaml"
    policy.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
    flags = (f"--audit-log-path={log}", f"--audit-policy-file={policy}")
    async with serving(tmp_path, pki, *flags) as served:
        credentials = grpc.ssl_channel_credentials((pki / "ca.crt").read_bytes())
        target = f"localhost:{served.server._options.grpc_port}"
        async with grpc.aio.secure_channel(target, credentials) as channel:
            method: Any = channel.unary_stream
            asked = pb.WatchRequest(kind="Namespace").SerializeToString()
            metadata = (("authorization", f"Bearer {ADMIN_TOKEN}"),)
            stream = method(f"/{OBJECTS}/Watch")(asked, metadata=metadata, timeout=60)
            await stream.read()
            stream.cancel()
    events = [json.loads(line) for line in log.read_text().splitlines()]
    stages = [e["stage"] for e in events if e["requestURI"] == f"/{OBJECTS}/Watch"]
    assert stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
