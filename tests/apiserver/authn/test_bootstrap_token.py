"""Bootstrap tokens, and tokens that a webhook knows."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from apiserver.authn.bootstrap_token import BootstrapTokens
from apiserver.authn.webhook import REFUSED_TTL_S, WebhookTokens
from apiserver.user import User
from kubraft.api.errors import UnauthorizedError
from kubraft.api.object import Object
from tests.apiserver.memory import MemoryCluster

NOW = 1_800_000_000.0
TOKEN = "abcdef.0123456789abcdef"


def secret(**data: Any) -> Object:
    said = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        **{name.replace("_", "-"): value for name, value in data.items()},
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "data": {
            name: base64.b64encode(value.encode()).decode() for name, value in said.items() if value
        },
    }


async def of(found: Object, token: str = TOKEN) -> User | None:
    return await BootstrapTokens(MemoryCluster(found), lambda: NOW).authenticate(token)


async def test_a_bootstrap_token_speaks_for_its_id() -> None:
    groups = "system:bootstrappers:worker,system:bootstrappers:a"
    found = await of(secret(auth_extra_groups=groups, expiration="2027-01-15T08:00:01Z"))
    assert found == User(
        "system:bootstrap:abcdef",
        groups=(
            "system:bootstrappers",
            "system:bootstrappers:a",
            "system:bootstrappers:worker",
        ),
    )


@pytest.mark.parametrize(
    ("found", "token"),
    [
        pytest.param(secret(), "abcdef.0123456789abcdeX", id="upper case"),
        pytest.param(secret(), f"{TOKEN}x", id="too long"),
        pytest.param(secret(), f"{TOKEN}\n", id="a line end"),
        pytest.param(secret(), "\u0660bcdef.0123456789abcdef", id="digits of another script"),
    ],
)
async def test_what_looks_otherwise_is_left_to_others(found: Object, token: str) -> None:
    assert await of(found, token) is None


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(secret(token_secret="0123456789abcdeX"), id="another secret"),
        pytest.param(secret(token_secret=""), id="no secret"),
        pytest.param(secret(token_id="bbbbbb"), id="another id"),
        pytest.param(secret(usage_bootstrap_authentication=""), id="not for authentication"),
        pytest.param(secret(expiration="2027-01-15T08:00:00Z"), id="expired"),
        pytest.param(secret(expiration="soon"), id="a time that is none"),
        pytest.param(secret(expiration="2027-01-15T09:00:00"), id="a time without a zone"),
        pytest.param(secret(auth_extra_groups="system:masters"), id="a group it may not have"),
        pytest.param({**secret(), "type": "Opaque"}, id="another type"),
        pytest.param({**secret(), "data": {"token-secret": "%"}}, id="no base64"),
    ],
)
async def test_others_do_not_get_in(found: Object) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        await of(found)
    assert TOKEN.split(".")[1] not in str(caught.value.__notes__)


async def test_a_token_that_is_not_there_does_not_get_in() -> None:
    with pytest.raises(UnauthorizedError):
        await of(secret(), "zzzzzz.0123456789abcdef")


class Webhook:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []
        self.now = NOW

    async def ask(self, method: str, url: str, body: Any = None) -> Any:
        assert (method, url) == ("POST", "https://hook/review")
        self.asked.append(body)
        return self.answer

    @property
    def tokens(self) -> WebhookTokens:
        return WebhookTokens("https://hook/review", self, lambda: self.now)


def status(**user: Any) -> Any:
    return {"status": {"authenticated": True, "user": {"username": "ann", **user}}}


async def test_a_webhook_is_asked_once_in_a_while() -> None:
    webhook = Webhook(status(uid="7", groups=["dev"], extra={"a": ["b"]}))
    tokens = webhook.tokens
    for _ in range(3):
        found = await tokens.authenticate("t")
        assert found == User("ann", "7", ("dev",), {"a": ("b",)})
    assert webhook.asked == [
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": "t"},
        }
    ]
    webhook.now += 121
    webhook.answer = {"status": {"authenticated": False}}
    assert await tokens.authenticate("t") is None
    webhook.now += REFUSED_TTL_S / 2
    assert await tokens.authenticate("t") is None
    assert len(webhook.asked) == 2


async def test_a_webhook_hears_of_audiences_and_must_know_one() -> None:
    webhook = Webhook(status())
    assert await webhook.tokens.authenticate("t", ("vault",)) is None
    webhook.answer["status"]["audiences"] = ["vault"]
    assert await webhook.tokens.authenticate("t", ("vault",)) == User("ann")
    assert webhook.asked[0]["spec"]["audiences"] == ["vault"]


@pytest.mark.parametrize(
    "answer",
    [
        None, [], {}, {"status": []}, status(username=""), status(username=7),
        status(groups="system:masters"), status(groups=[1]), status(extra=["a"]),
        status(extra={"a": "b"}), {"status": {"authenticated": True, "user": None}},
    ],
    ids=str,
)  # fmt: skip
async def test_a_webhook_that_lies_lets_nobody_in(answer: Any) -> None:
    with pytest.raises(UnauthorizedError):
        await Webhook(answer).tokens.authenticate("t")


async def test_only_true_is_authenticated() -> None:
    answer = status()
    answer["status"]["authenticated"] = "true"
    assert await Webhook(answer).tokens.authenticate("t") is None
