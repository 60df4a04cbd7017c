from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from joserfc import jws
from joserfc.jwk import OctKey

from agents.controllers.bootstrap_signer import signature, signed
from agents.controllers.token_cleaner import TYPE
from kubraft.api.object import Object
from kubraft.api.time import format_time
from tests.agents.controllers.objects import NOW

CONTENT = "apiVersion: v1\nkind: Config\n"
SECRET = "0123456789abcdef"


def token(token_id: str = "abcdef", **values: str) -> Object:
    named = {name.replace("_", "-"): value for name, value in values.items()}
    data = {
        "token-id": token_id,
        "token-secret": SECRET,
        "usage-bootstrap-signing": "true",
        **named,
    }
    return {
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": TYPE,
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()},
    }


def cluster_info(**data: str) -> Object:
    return {"metadata": {"name": "cluster-info"}, "data": data}


def test_a_signature_is_what_others_verify() -> None:
    head, payload, digest = signature(CONTENT, "abcdef", SECRET).split(".")
    assert payload == ""
    payload = base64.urlsafe_b64encode(CONTENT.encode()).rstrip(b"=").decode()
    found = jws.deserialize_compact(f"{head}.{payload}.{digest}", OctKey.import_key(SECRET))
    assert found.payload.decode() == CONTENT
    assert found.headers() == {"alg": "HS256", "kid": "abcdef"}


def test_each_token_signs_and_what_is_stale_goes() -> None:
    before = cluster_info(kubeconfig=CONTENT, other="stays", **{"jws-kubeconfig-gone00": "x"})
    data = signed(before, [token()], NOW)["data"]
    assert data == {
        "kubeconfig": CONTENT,
        "other": "stays",
        "jws-kubeconfig-abcdef": signature(CONTENT, "abcdef", SECRET),
    }
    assert signed({**before, "data": data}, [token()], NOW)["data"] == data


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(token(usage_bootstrap_signing="false"), id="may not sign"),
        pytest.param(token(expiration=format_time(NOW - timedelta(seconds=1))), id="expired"),
        pytest.param(token("fedcba"), id="not its name"),
        pytest.param({**token(), "type": "Opaque"}, id="no token"),
        pytest.param(token(token_secret=""), id="no secret"),
    ],
)
def test_who_does_not_sign(secret: Object) -> None:
    before = cluster_info(kubeconfig=CONTENT)
    assert signed(before, [secret], NOW) == before


def test_without_content_nothing_is_signed() -> None:
    assert signed(cluster_info(), [token()], NOW) == cluster_info()
