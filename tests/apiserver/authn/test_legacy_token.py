"""Tokens that Secrets hold: good while the Secret and its ServiceAccount are there."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from typing import Any

import pytest

from apiserver.authn.service_account import ServiceAccountAuthenticator
from kubraft.api.errors import UnauthorizedError
from kubraft.api.object import Object
from kubraft.signing_keys import sign_claims
from tests.apiserver.authn.test_service_account import ISSUER, KEY, NOW, OTHER_KEY, named
from tests.apiserver.memory import MemoryCluster, MemoryWriter

BASE = "kubernetes.io/serviceaccount/"
CLAIMS = {
    "iss": "kubernetes/serviceaccount",
    "sub": "system:serviceaccount:shop:web",
    f"{BASE}namespace": "shop",
    f"{BASE}secret.name": "web-token",
    f"{BASE}service-account.name": "web",
    f"{BASE}service-account.uid": "serviceaccount-web-uid",
}


def _secret(token: str) -> Object:
    data = {"token": base64.b64encode(token.encode()).decode()}
    return named("Secret", "web-token", type="kubernetes.io/service-account-token", data=data)


def _authenticator(*objects: Object) -> ServiceAccountAuthenticator:
    stored = MemoryCluster(*objects)
    return ServiceAccountAuthenticator(
        keys=[KEY.public],
        issuers=[ISSUER],
        audiences=[ISSUER],
        reader=stored,
        writer=MemoryWriter(stored),
        now=lambda: NOW,
    )


async def test_a_good_token() -> None:
    token = sign_claims(KEY, CLAIMS)
    authenticator = _authenticator(named("ServiceAccount", "web"), _secret(token))
    user = await authenticator.authenticate(token)
    assert user.name == "system:serviceaccount:shop:web"
    assert user.uid == "serviceaccount-web-uid"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop")
    assert await authenticator.authenticate(token, (ISSUER,)) == user
    with pytest.raises(UnauthorizedError):
        await authenticator.authenticate(token, ("https://elsewhere",))


def _marked(objects: list[Object]) -> None:
    objects[1]["metadata"]["labels"] = {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}


def _deleted(objects: list[Object]) -> None:
    objects[1]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def _renewed(objects: list[Object]) -> None:
    objects[1]["data"]["token"] = base64.b64encode(b"another").decode()


def _broken(objects: list[Object]) -> None:
    objects[1]["data"]["token"] = "!"


def _another_account(objects: list[Object]) -> None:
    objects[0]["metadata"]["uid"] = "new"


def _no_account(objects: list[Object]) -> None:
    del objects[0]


def _no_secret(objects: list[Object]) -> None:
    del objects[1]


@pytest.mark.parametrize(
    "change",
    [_marked, _deleted, _renewed, _broken, _another_account, _no_account, _no_secret],
)
async def test_a_token_ends_with_what_it_hangs_on(change: Callable[[list[Object]], None]) -> None:
    token = sign_claims(KEY, CLAIMS)
    objects = [named("ServiceAccount", "web"), _secret(token)]
    change(objects)
    with pytest.raises(UnauthorizedError):
        await _authenticator(*objects).authenticate(token)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sub": "system:serviceaccount:shop:admin"}, id="of another subject"),
        pytest.param({f"{BASE}secret.name": ""}, id="an empty claim"),
        pytest.param({f"{BASE}service-account.uid": 7}, id="a claim that is no text"),
        pytest.param({f"{BASE}namespace": None}, id="a claim that is null"),
        pytest.param({"iss": "kubernetes/serviceaccounts"}, id="of another issuer"),
    ],
)
async def test_claims_that_do_not_hold(changes: dict[str, Any]) -> None:
    token = sign_claims(KEY, {**copy.deepcopy(CLAIMS), **changes})
    authenticator = _authenticator(named("ServiceAccount", "web"), _secret(token))
    with pytest.raises(UnauthorizedError):
        await authenticator.authenticate(token)


async def test_a_key_that_is_not_ours() -> None:
    token = sign_claims(OTHER_KEY, CLAIMS)
    with pytest.raises(UnauthorizedError):
        await _authenticator(named("ServiceAccount", "web"), _secret(token)).authenticate(token)
