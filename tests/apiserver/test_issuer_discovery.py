"""The issuer's documents: who trusts a cluster's tokens needs nothing but its URL."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jwt
from joserfc.jwk import KeySet

from apiserver.authn.issuer_documents import issuer_documents
from kubraft.signing_keys import signing_key
from tests.apiserver.in_process import serving

ISSUER = "https://kubernetes.default.svc.cluster.local"
CONFIGURATION = "/.well-known/openid-configuration"


async def test_tokens_are_verified_with_what_the_server_publishes(
    tmp_path: Path, pki: Path
) -> None:
    async with serving(tmp_path, pki) as served:
        account = "/api/v1/namespaces/default/serviceaccounts"
        await served.create(account, {"metadata": {"name": "robot"}})
        made = await served.create(f"{account}/robot/token", {"spec": {"audiences": ["vault"]}})
        token = made["status"]["token"]
        own = (await served.create(f"{account}/robot/token", {}))["status"]["token"]

        refused = await served.ask("GET", CONFIGURATION, token=None)
        assert refused.status == 403
        found = await served.ask("GET", CONFIGURATION, token=own)
        assert found.json() == {
            "issuer": ISSUER,
            "jwks_uri": f"https://127.0.0.1:{served.port}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        assert found.headers["content-type"] == "application/json"
        assert found.headers["cache-control"] == "public, max-age=3600"

        published = await served.ask("GET", "/openid/v1/jwks", token=own)
        assert published.headers["content-type"] == "application/jwk-set+json"
        assert published.headers["cache-control"] == "public, max-age=3600"
        (key,) = published.json()["keys"]
        assert {"use", "kty", "kid", "alg", "crv", "x", "y"} == set(key)
        claims = jwt.decode(token, KeySet.import_key_set(published.json()), ["ES256"]).claims
        assert (claims["aud"], claims["iss"]) == (["vault"], ISSUER)
        assert (await served.ask("POST", CONFIGURATION, {})).status == 405


async def test_a_token_of_the_key_of_before_is_good_while_its_public_half_is_kept(
    tmp_path: Path, pki: Path
) -> None:
    new = signing_key_file(tmp_path)
    async with serving(tmp_path, pki) as before:
        path = "/api/v1/namespaces/default/serviceaccounts"
        await before.create(path, {"metadata": {"name": "robot"}})
        made = await before.create(f"{path}/robot/token", {})
        store = before.store
        keep_open(store)
    flags = (f"--service-account-key-file={new}", f"--service-account-signing-key-file={new}")
    async with serving(tmp_path, pki, *flags, store=store) as after:
        who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        old = made["status"]["token"]
        assert (await after.ask("POST", who, {}, token=old)).status == 201
        young = (await after.create(f"{path}/robot/token", {}))["status"]["token"]
        assert young.partition(".")[0] != old.partition(".")[0]
        assert (await after.ask("POST", who, {}, token=young)).status == 201
        keys = (await after.ask("GET", "/openid/v1/jwks")).json()["keys"]
        assert len(keys) == 2


def signing_key_file(folder: Path) -> Path:
    from cryptography.hazmat.primitives import serialization

    path = folder / "new.key"
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def keep_open(store: object) -> None:
    async def close() -> None:
        pass

    store.close = close  # type: ignore[attr-defined]


def test_rsa_and_elliptic_keys_are_published_once_each() -> None:
    keys = [
        signing_key(rsa.generate_private_key(public_exponent=65537, key_size=2048)).public,
        signing_key(ec.generate_private_key(ec.SECP256R1())).public,
    ]
    found = issuer_documents(issuer=ISSUER, jwks_uri="https://a/jwks", keys=[*keys, *keys])
    text = found["/openid/v1/jwks"].raw.decode()
    assert text.count('"kid"') == 2
    assert '"d"' not in text
    assert '["ES256","RS256"]' in found[CONFIGURATION].raw.decode()


@pytest.mark.parametrize("issuer", ["kubernetes/serviceaccount", "http://a", "https://a?b", ""])
def test_an_issuer_that_is_no_url_publishes_nothing(issuer: str) -> None:
    key = signing_key(ec.generate_private_key(ec.SECP256R1())).public
    assert issuer_documents(issuer=issuer, jwks_uri="https://a/jwks", keys=[key]) == {}


def test_keys_are_published_over_https_only() -> None:
    key = signing_key(ec.generate_private_key(ec.SECP256R1())).public
    with pytest.raises(ValueError, match="--service-account-jwks-uri http://a/jwks"):
        issuer_documents(issuer=ISSUER, jwks_uri="http://a/jwks", keys=[key])
