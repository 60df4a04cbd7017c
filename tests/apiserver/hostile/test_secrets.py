"""What is secret is in no log, no audit event at Metadata, no metric and no answer to a refusal."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog

from apiserver.rpc.server import OBJECTS
from kubraft.log import configure
from kubraft.pb.v1 import objects_pb2 as pb
from tests.apiserver.in_process import ADMIN_TOKEN, Served, serving

JSON = "application/json"
SECRETS = "/api/v1/namespaces/default/secrets"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
# Each is easy to find again, in whatever form it went out.
PASSWORD = "pAssw0rd-Xq7-of-a-secret"
WRONG_TOKEN = "wr0ng-tOken-Yz8-of-nobody"
BOOTSTRAP = ("abcdef", "0123456789zyxwvu")


def forms(secret: str) -> list[str]:
    raw = secret.encode()
    found = [secret, base64.b64encode(raw).decode().rstrip("="), raw.hex()]
    # Base64 of a text with something before it.
    found += [base64.b64encode(b"x" * n + raw)[4:-4].decode() for n in (1, 2)]
    return found


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that this process logs, at the most talkative level."""
    root, kept = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure("debug", stream=stream)
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        structlog.configure(**kept)
        root.handlers, root.level = handlers, level


def secret(name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **fields}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# Method, path, body and content type: what goes well, and what goes wrong in as many ways.
TRAFFIC: list[tuple[str, str, Any, str]] = [
    ("POST", SECRETS, secret("good", stringData={"p": PASSWORD}), ""),
    ("POST", SECRETS, secret("good", data={"p": encoded(PASSWORD)}), ""),
    ("POST", SECRETS, secret("Bad Name", stringData={"p": PASSWORD}), ""),
    ("POST", SECRETS, secret("bad-key", stringData={"a b": PASSWORD}), ""),
    ("POST", SECRETS, secret("text", data=PASSWORD), ""),
    ("POST", SECRETS, secret("list", data=[PASSWORD]), ""),
    ("POST", SECRETS, secret("no-base64", data={"p": PASSWORD + "!"}), ""),
    ("POST", SECRETS, secret("docker", type="kubernetes.io/dockerconfigjson",
                             stringData={".dockerconfigjson": PASSWORD}), ""),
    ("POST", SECRETS, secret("tls", type="kubernetes.io/tls", stringData={"tls.key": PASSWORD}),
     ""),
    ("POST", f"{SECRETS}?fieldValidation=Strict", secret("odd", datum={"p": PASSWORD}), ""),
    ("POST", SECRETS, secret("big", stringData={"p": PASSWORD * 60_000}), ""),
    ("POST", SECRETS, json.dumps(secret("cut", stringData={"p": PASSWORD})).encode()[:-3], ""),
    ("POST", SECRETS, f"a: &a {PASSWORD}\nb: [*c]".encode(), "application/yaml"),
    ("POST", SECRETS, b"k8s\0\x0a\x0c" + PASSWORD.encode(), "application/vnd.kubernetes.protobuf"),
    ("PUT", f"{SECRETS}/good", secret("other", stringData={"p": PASSWORD}), ""),
    ("PATCH", f"{SECRETS}/good", {"stringData": {"q": PASSWORD}}, "application/merge-patch+json"),
    ("PATCH", f"{SECRETS}/good", {"data": PASSWORD}, "application/merge-patch+json"),
    ("PATCH", f"{SECRETS}/good", {"stringData": {"q": PASSWORD}}, "application/x-patch"),
    ("PATCH", f"{SECRETS}/good", [{"op": "test", "path": "/data/p", "value": PASSWORD}],
     "application/json-patch+json"),
    ("PATCH", f"{SECRETS}/good", [{"op": "test", "path": "/data/p", "value": "guessed"}],
     "application/json-patch+json"),
    ("PATCH", f"{SECRETS}/good", [{"op": "replace", "path": "/data/x/y/z", "value": 1}],
     "application/json-patch+json"),
    ("PATCH", f"{SECRETS}/good", [{"op": "remove", "path": "/nothing"}],
     "application/json-patch+json"),
    ("PATCH", f"{SECRETS}/good?fieldManager=one", secret("good", data={"p": encoded(PASSWORD)}),
     "application/apply-patch+yaml"),
    ("PATCH", f"{SECRETS}/good?fieldManager=two", secret("good", stringData={"p": PASSWORD}),
     "application/apply-patch+yaml"),
    ("PATCH", f"{SECRETS}/good?fieldManager=two", secret("good", data=[PASSWORD]),
     "application/apply-patch+yaml"),
    ("POST", REVIEWS, {"spec": {"token": WRONG_TOKEN}}, ""),
    ("POST", REVIEWS, {"spec": {"token": {"a": WRONG_TOKEN}}}, ""),
    ("POST", REVIEWS, {"spec": {"token": ADMIN_TOKEN}}, ""),
    ("POST", REVIEWS, {"spec": {"token": ".".join(BOOTSTRAP)}}, ""),
    ("DELETE", f"{SECRETS}/good", {"kind": "Secret", "data": {"p": PASSWORD}}, ""),
]  # fmt: skip


async def refusals(served: Served) -> list[bytes]:
    """All bodies that tell of a refusal, from both fronts."""
    found = []
    token_secret = {"token-id": BOOTSTRAP[0], "token-secret": BOOTSTRAP[1]}
    made = secret(
        f"bootstrap-token-{BOOTSTRAP[0]}",
        type="bootstrap.kubernetes.io/token",
        stringData={**token_secret, "usage-bootstrap-authentication": "true"},
    )
    await served.create(SECRETS.replace("default", "kube-system"), made)
    for token in (ADMIN_TOKEN, "bob-token", WRONG_TOKEN, ".".join(BOOTSTRAP)):
        for method, path, body, kind in TRAFFIC:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = await served.ask(method, path, raw, token=token, kind=kind or JSON)
            assert answer.status < 500 or b"failed to create typed patch" in answer.body
            if answer.status >= 400:
                found.append(answer.body)
            assert PASSWORD not in str(answer.headers)
    credentials = grpc.ssl_channel_credentials((served.pki / "ca.crt").read_bytes())
    async with grpc.aio.secure_channel(
        f"localhost:{served.server._options.grpc_port}", credentials
    ) as channel:
        put = channel.unary_unary(
            f"/{OBJECTS}/Put",
            request_serializer=pb.PutRequest.SerializeToString,
            response_deserializer=pb.Object.FromString,
        )
        for token in (ADMIN_TOKEN, WRONG_TOKEN):
            for wrong in (secret("x", data=PASSWORD), secret("A b", stringData={"p": PASSWORD})):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await put(
                        pb.PutRequest(json=json.dumps(wrong).encode(), namespace="default"),
                        metadata=(("authorization", f"Bearer {token}"),),
                    )
                found.append(str(refused.value).encode())
    return found


async def test_what_is_secret_is_told_to_nobody(
    tmp_path: Path, pki: Path, log: io.StringIO
) -> None:
    audited, policy = tmp_path / "audit.log", tmp_path / "policy.yaml"
    policy.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
    flags = (
        f"--audit-log-path={audited}",
        f"--audit-policy-file={policy}",
        "--enable-bootstrap-token-auth",
    )
    async with serving(tmp_path, pki, *flags) as served:
        await served.create(ACCOUNTS, {"metadata": {"name": "robot"}})
        issued = (await served.create(f"{ACCOUNTS}/robot/token", {}))["status"]["token"]
        await served.ask("GET", SECRETS, token=issued)
        await served.ask("GET", SECRETS, token=issued[:-4])
        bodies = await refusals(served)
        assert len(bodies) > 30
        places = {"a refusal": b"\n".join(bodies)}
        for path in ("/metrics", "/debug/pprof/", "/debug/flags/v", "/configz", "/logs/"):
            places[path] = (await served.ask("GET", path)).body
    places["the log"] = log.getvalue().encode()
    places["the audit log"] = audited.read_bytes()
    assert b"event=ready" in places["the log"]
    assert b'"level":"Metadata"' in places["the audit log"]
    signature = issued.rpartition(".")[2]
    leaks = []
    for known in (PASSWORD, WRONG_TOKEN, ADMIN_TOKEN, "bob-token", BOOTSTRAP[1], signature):
        for form in forms(known):
            for place, text in places.items():
                at = text.find(form.encode())
                if at >= 0:
                    leaks.append((place, text[max(0, at - 300) : at + 100]))
    assert not leaks
