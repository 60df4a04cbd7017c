"""A whole server and callers who lie, shout or pretend: each hears a Status, and nothing more."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jws
from joserfc.jwk import RSAKey

from tests.apiserver.in_process import ADMIN_TOKEN, Answer, Served, issue_certificate, serving
from tests.harness.ports import free_port

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def check_unauthorized(answer: Answer) -> None:
    assert answer.status == 401, answer.body
    assert answer.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }


async def whoami(served: Served, **how: Any) -> dict[str, Any]:
    answer = await served.ask("POST", WHO, {}, **how)
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json()["status"]["userInfo"]
    return found


async def test_tokens_that_lie_are_401_and_all_alike(tmp_path: Path, pki: Path) -> None:
    async with serving(tmp_path, pki, "--enable-bootstrap-token-auth") as served:
        await served.create(ACCOUNTS, {"metadata": {"name": "robot"}})
        good = (await served.create(f"{ACCOUNTS}/robot/token", {}))["status"]["token"]
        head, payload, signature = good.split(".")
        assert (await whoami(served, token=good))["username"].endswith(":robot")
        forged = {
            "nobody's": "no-such-token",
            "alg none": f"{part({'alg': 'none'})}.{payload}.",
            "alg none, signed": f"{part({'alg': 'none'})}.{payload}.{signature}",
            "kid is a path": f"{part({'alg': 'ES256', 'kid': '/dev/null'})}.{payload}.{signature}",
            "kid is a list": f"{part({'alg': 'ES256', 'kid': [1]})}.{payload}.{signature}",
            "key in the token": f"{part({'alg': 'ES256', 'jwk': {'kty': 'EC'}})}.{payload}.AA",
            "key by URL": f"{part({'alg': 'ES256', 'jku': 'https://evil'})}.{payload}.{signature}",
            "deep": f"{part(b'[' * 4000)}.{payload}.{signature}",
            "giant": "A" * 30_000,
            "giant JWT": f"{head}.{'A' * 20_000}.{signature}",
            "other bytes": "tök€n\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
            "a NUL's neighbour": "a\tb",
            "a bootstrap token of nobody": "abcdef.0123456789abcdef",
        }
        for what, token in forged.items():
            raw = b"Bearer " + token.encode("latin-1")
            answer = await served.ask("POST", WHO, {}, token=None, headers=[("authorization", raw)])
            assert answer.status == 401, what
            check_unauthorized(answer)
        deleted = await served.ask("DELETE", f"{ACCOUNTS}/robot")
        assert deleted.status == 200
        check_unauthorized(await served.ask("POST", WHO, {}, token=good))


async def test_header_floods_and_odd_headers_do_not_hurt(tmp_path: Path, pki: Path) -> None:
    async with serving(tmp_path, pki) as served:
        many = [(f"x-{number}", b"y" * 100) for number in range(3000)]
        try:
            flooded = await served.ask("POST", WHO, {}, headers=many)
            assert flooded.status in (400, 431)
        except (ConnectionError, ssl.SSLError):
            pass  # cut off in the middle of it
        twice = [("authorization", b"Bearer bob-token")]
        assert (await whoami(served, headers=twice))["username"] == "admin"
        for text in (b"Basic YTpi", b"bearer", b"Negotiate x"):
            answer = await served.ask(
                "GET", "/version", token=None, headers=[("authorization", text)]
            )
            assert answer.status == 200, text
        lower = await whoami(served, token=None, headers=[("authorization", b"bEaReR bob-token")])
        assert lower["username"] == "bob"


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ([("impersonate-group", b"dev")], 400, "without a user"),
        ([("impersonate-uid", b"7")], 400, "without a user"),
        ([("impersonate-extra-scope", b"x")], 400, "without a user"),
        (
            [("impersonate-user", b"root")],
            403,
            'users "root" is forbidden: User "bob" cannot impersonate resource "users"',
        ),
        (
            [("impersonate-user", b"system:serviceaccount:kube-system:x")],
            403,
            '"serviceaccounts" in API group "" in the namespace "kube-system"',
        ),
    ],
)
async def test_who_may_not_act_as_another_is_told_so(
    tmp_path: Path, pki: Path, headers: Any, status: int, message: str
) -> None:
    async with serving(tmp_path, pki) as served:
        answer = await served.ask("POST", WHO, {}, token="bob-token", headers=headers)
        assert answer.status == status, answer.body
        assert message in answer.json()["message"]


async def test_an_administrator_acts_as_others_in_every_way(tmp_path: Path, pki: Path) -> None:
    async with serving(tmp_path, pki) as served:
        headers = [
            ("Impersonate-User", b"ann"),
            ("Impersonate-Uid", b"7"),
            ("Impersonate-Group", b"dev"),
            ("Impersonate-Group", b"ops"),
            ("Impersonate-Extra-Acme.com%2fscope", b"a"),
            ("Impersonate-Extra-Acme.com%2fscope", b"b"),
        ]
        assert await whoami(served, headers=headers) == {
            "username": "ann",
            "uid": "7",
            "groups": ["dev", "ops", "system:authenticated"],
            "extra": {"acme.com/scope": ["a", "b"]},
        }
        anonymous = [("impersonate-user", b"system:anonymous")]
        assert (await served.ask("GET", "/api", headers=anonymous)).status == 403


async def test_certificates_name_users_until_they_end(tmp_path: Path, pki: Path) -> None:
    async with serving(tmp_path, pki) as served:
        ann = issue_certificate(pki, tmp_path, "ann", "dev", "ops")
        found = await whoami(served, token=None, certificate=ann)
        assert (found["username"], found["groups"]) == (
            "ann", ["dev", "ops", "system:authenticated"],
        )  # fmt: skip
        # TLS refuses one that has ended, or the server does: in no case is it anybody.
        old = issue_certificate(pki, tmp_path, "old", days=-1)
        try:
            answer = await served.ask("POST", WHO, {}, token=None, certificate=old)
        except (ConnectionError, ssl.SSLError):
            return
        check_unauthorized(answer)


async def test_without_anonymous_access_nothing_is_said(tmp_path: Path, pki: Path) -> None:
    path = tmp_path / "authentication.yaml"
    path.write_text(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
        "anonymous: {enabled: true, conditions: [{path: /readyz}]}\n"
    )
    async with serving(tmp_path, pki, f"--authentication-config={path}") as served:
        for asked in ("/livez", "/version", "/api", "/nowhere"):
            check_unauthorized(await served.ask("GET", asked, token=None))
            assert (await served.ask("GET", asked)).status in (200, 404)
        assert (await served.ask("GET", "/readyz", token=None)).status == 200


async def test_a_token_review_knows_audiences(tmp_path: Path, pki: Path) -> None:
    async with serving(tmp_path, pki) as served:
        await served.create(ACCOUNTS, {"metadata": {"name": "robot"}})
        spec = {"audiences": ["vault", "other"]}
        token = (await served.create(f"{ACCOUNTS}/robot/token", {"spec": spec}))["status"]["token"]
        check_unauthorized(await served.ask("POST", WHO, {}, token=token))

        async def review(token: str, *audiences: str) -> Any:
            spec = {"token": token, "audiences": list(audiences)}
            return (await served.create(REVIEW, {"spec": spec}))["status"]

        found = await review(token, "vault", "third")
        assert found["authenticated"] is True
        assert found["audiences"] == ["vault"]
        assert found["user"]["username"] == "system:serviceaccount:default:robot"
        assert "authenticated" not in await review(token, "third")
        assert "authenticated" not in await review(token)
        assert (await review("bob-token"))["user"]["username"] == "bob"
        assert "authenticated" not in await review("bob-token", "vault")


class Provider:
    """An OIDC provider and a TokenReview webhook on one port, over TLS."""

    def __init__(self, port: int) -> None:
        self.url = f"https://localhost:{port}"
        self.key = RSAKey.import_key(
            rsa.generate_private_key(public_exponent=65537, key_size=2048), {"kid": "k"}
        )
        self.reviewed = 0

    async def configuration(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def keys(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [{**self.key.as_dict(private=False), "kid": "k"}]})

    async def review(self, request: web.Request) -> web.Response:
        self.reviewed += 1
        token = (await request.json())["spec"]["token"]
        if token == "moved":
            raise web.HTTPFound(f"{self.url}/keys")
        if token == "huge":
            return web.Response(body=b" " * (2 << 20))
        status: dict[str, Any] = {"authenticated": False}
        if token == "known-to-the-webhook":
            status = {"authenticated": True, "user": {"username": "hooked", "groups": ["h"]}}
        return web.json_response({"kind": "TokenReview", "status": status})

    def token(self, **claims: Any) -> str:
        body = {"iss": self.url, "aud": "k8s", "sub": "ann", "exp": 4_000_000_000, **claims}
        return jws.serialize_compact({"alg": "RS256", "kid": "k"}, json.dumps(body), self.key)


@asynccontextmanager
async def provider(pki: Path) -> AsyncIterator[Provider]:
    port = free_port()
    made = Provider(port)
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", made.configuration)
    app.router.add_get("/keys", made.keys)
    app.router.add_post("/review", made.review)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        yield made
    finally:
        await runner.cleanup()


async def test_users_of_a_provider_and_of_a_webhook_over_https(tmp_path: Path, pki: Path) -> None:
    async with provider(pki) as made:
        kubeconfig = tmp_path / "webhook.kubeconfig"
        kubeconfig.write_text(
            json.dumps(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "h", "user": ""}}],
                    "clusters": [
                        {
                            "name": "h",
                            "cluster": {
                                "server": f"{made.url}/review",
                                "certificate-authority": str(pki / "ca.crt"),
                            },
                        }
                    ],
                    "users": [],
                }
            )
        )
        flags = (
            f"--oidc-issuer-url={made.url}",
            "--oidc-client-id=k8s",
            f"--oidc-ca-file={pki / 'ca.crt'}",
            "--oidc-username-prefix=oidc:",
            "--oidc-groups-claim=groups",
            f"--authentication-token-webhook-config-file={kubeconfig}",
            "--authentication-token-webhook-cache-ttl=1m30s",
        )
        async with serving(tmp_path, pki, *flags) as served:
            found = await whoami(served, token=made.token(groups=["dev"]))
            assert (found["username"], found["groups"]) == (
                "oidc:ann", ["dev", "system:authenticated"],
            )  # fmt: skip
            check_unauthorized(await served.ask("POST", WHO, {}, token=made.token(exp=1)))
            before = made.reviewed
            hooked = await asyncio.gather(
                *(whoami(served, token="known-to-the-webhook") for _ in range(3))
            )
            assert {one["username"] for one in hooked} == {"hooked"}
            await whoami(served, token="known-to-the-webhook")
            assert made.reviewed <= before + 3
            for token in ("unknown", "moved", "huge"):
                check_unauthorized(await served.ask("POST", WHO, {}, token=token))
            assert (await whoami(served, token=ADMIN_TOKEN))["username"] == "admin"


async def test_handshakes_that_fail_leave_nothing_behind(tmp_path: Path, pki: Path) -> None:
    async with serving(tmp_path, pki) as served:
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            async with asyncio.timeout(30):
                await reader.read()
            writer.close()
        assert not [one for one in served.server._rest._connections if not one.running()]
