"""Users of an OIDC provider: who gets in, who does not, and how often the provider is asked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from apiserver.authn.authentication_config import AuthenticationConfigError, of_flags, parse
from apiserver.authn.oidc import OidcAuthenticator, OidcConfig, refused
from apiserver.authn.provider_keys import FETCH_INTERVAL_S, KEPT_S, ProviderKeys
from apiserver.user import User
from kubraft.api.errors import UnauthorizedError

ISSUER = "https://issuer.example"
NOW = 1_800_000_000.0
KEY = RSAKey.import_key(
    rsa.generate_private_key(public_exponent=65537, key_size=2048), {"kid": "one"}
)
OTHER = ECKey.import_key(ec.generate_private_key(ec.SECP256R1()), {"kid": "two"})


class Provider:
    """Answers for the issuer; counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: list[Any] = [KEY]
        self.asked: list[str] = []
        self.issuer = ISSUER
        self.away = False

    async def ask(self, method: str, url: str, body: Any = None) -> Any:
        assert (method, body) == ("GET", None)
        self.asked.append(url)
        if self.away:
            raise refused("away")
        if url.endswith("/.well-known/openid-configuration"):
            return {"issuer": self.issuer, "jwks_uri": f"{ISSUER}/keys"}
        shown = [{**key.as_dict(private=False), "kid": key.kid} for key in self.keys]
        return {"keys": [*shown, {"kty": "oct", "k": "AAAA", "kid": "secret"}, 7]}


class Side:
    def __init__(self, **config: Any) -> None:
        self.now = NOW
        self.provider = Provider()
        fields: dict[str, Any] = {
            "issuer": ISSUER, "audiences": ("kubernetes",), "username_prefix": "oidc:",
            "groups_claim": "groups", "groups_prefix": "oidc:", **config,
        }  # fmt: skip
        self.config = OidcConfig(**fields)
        keys = ProviderKeys(self.config, self.provider, lambda: self.now)
        self.authenticator = OidcAuthenticator(self.config, keys, lambda: self.now)

    async def user(self, token: str) -> User | None:
        return await self.authenticator.authenticate(token)


def claims(**changes: Any) -> dict[str, Any]:
    found = {"iss": ISSUER, "aud": "kubernetes", "sub": "ann", "exp": NOW + 60, "groups": ["dev"]}
    return {k: v for k, v in {**found, **changes}.items() if v is not None}


def token(payload: Any = None, key: Any = KEY, alg: str = "RS256", **header: Any) -> str:
    body = json.dumps(claims() if payload is None else payload)
    head = {"alg": alg, "kid": key.kid, **header}
    return jws.serialize_compact(head, body, key, algorithms=[alg])


async def test_an_id_token_names_user_and_groups() -> None:
    assert await Side().user(token()) == User("oidc:ann", groups=("oidc:dev",))


async def test_claims_may_be_mapped_otherwise() -> None:
    side = Side(username_claim="email", uid_claim="sub", groups_claim="role", groups_prefix="")
    found = await side.user(token(claims(email="a@b.c", email_verified=True, role="x")))
    assert found == User("oidc:a@b.c", uid="ann", groups=("x",))


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda: token(claims(exp=NOW)), id="expired"),
        pytest.param(lambda: token(claims(exp=None)), id="never expires"),
        pytest.param(lambda: token(claims(exp="9")), id="expiry is a text"),
        pytest.param(lambda: token(claims(nbf=NOW + 301)), id="not valid yet"),
        pytest.param(lambda: token(claims(aud="vault")), id="another audience"),
        pytest.param(lambda: token(claims(aud=None)), id="no audience"),
        pytest.param(lambda: token(claims(aud={"kubernetes": 1})), id="audience is an object"),
        pytest.param(lambda: token(claims(sub=None)), id="no name"),
        pytest.param(lambda: token(claims(sub=["ann"])), id="name is a list"),
        pytest.param(lambda: token(claims(groups=[1])), id="groups are numbers"),
        pytest.param(lambda: token(claims(groups=["g"] * 2000)), id="too many groups"),
        pytest.param(lambda: token(key=OTHER, alg="ES256"), id="a key of nobody"),
        pytest.param(lambda: token(key=OTHER, alg="ES256", kid="one"), id="a kid of another"),
        pytest.param(lambda: token(key=OTHER, alg="ES256", kid="secret"), id="a symmetric kid"),
        pytest.param(lambda: token(key=OTHER, alg="ES256", kid="../../etc"), id="kid is a path"),
        pytest.param(lambda: unsigned("none"), id="alg none"),
        pytest.param(lambda: unsigned("HS256"), id="alg HS256"),
        pytest.param(lambda: unsigned("RS256"), id="no signature"),
        pytest.param(lambda: token()[:-10] + "AAAAAAAAAA", id="a broken signature"),
    ],
)
async def test_others_do_not_get_in(made: Callable[[], str]) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        await Side().user(made())
    assert caught.value.message == "Unauthorized"
    assert caught.value.__notes__


def unsigned(algorithm: str) -> str:
    head, payload, _ = token().split(".")
    import base64

    head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "one"}).encode()).decode()
    return f"{head.rstrip('=')}.{payload}."


@pytest.mark.parametrize("text", ["", "abc", "a.b.c", "é.é.é", "of another", "giant"])
async def test_what_is_of_nobody_here_is_left_to_others(text: str) -> None:
    side = Side()
    text = token(claims(iss="https://else")) if text == "of another" else text
    assert await side.user("x" * 20_000 if text == "giant" else text) is None
    assert not side.provider.asked


async def test_an_unverified_address_is_no_name() -> None:
    side = Side(username_claim="email")
    with pytest.raises(UnauthorizedError):
        await side.user(token(claims(email="a@b.c", email_verified=False)))


async def test_required_claims_are_required() -> None:
    side = Side(required={"hd": "example.com"})
    assert await side.user(token(claims(hd="example.com"))) is not None
    with pytest.raises(UnauthorizedError):
        await side.user(token(claims(hd="else")))


async def test_a_token_that_was_good_ends_in_time() -> None:
    side, text = Side(), token()
    await side.user(text)
    side.now += 60
    with pytest.raises(UnauthorizedError):
        await side.user(text)


async def test_forged_key_ids_do_not_make_the_server_ask_and_ask() -> None:
    side = Side()
    await side.user(token())
    asked = len(side.provider.asked)
    assert asked == 2
    for number in range(50):
        with pytest.raises(UnauthorizedError):
            await side.user(token(key=OTHER, alg="ES256", kid=f"k{number}"))
    assert len(side.provider.asked) == asked
    side.now += FETCH_INTERVAL_S
    side.provider.keys.append(OTHER)
    assert await side.user(token(key=OTHER, alg="ES256")) is not None


async def test_keys_that_were_taken_back_are_forgotten() -> None:
    side = Side()
    await side.user(token())
    side.provider.keys = [OTHER]
    side.now += KEPT_S + 1
    with pytest.raises(UnauthorizedError):
        await side.user(token(claims(exp=side.now + 60)))


async def test_a_provider_that_is_away_or_another_lets_nobody_in() -> None:
    side = Side()
    side.provider.away = True
    with pytest.raises(UnauthorizedError):
        await side.user(token())
    side.provider.away, side.provider.issuer = False, "https://evil"
    side.now += FETCH_INTERVAL_S
    with pytest.raises(UnauthorizedError):
        await side.user(token())


@given(header=st.binary(max_size=40), payload=st.dictionaries(st.text(), st.text()))
async def test_no_token_does_worse_than_to_be_refused(
    header: bytes, payload: dict[str, str]
) -> None:
    import base64

    def part(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    text = f"{part(header)}.{part(json.dumps({**payload, 'iss': ISSUER}).encode())}.AAAA"
    with contextlib.suppress(UnauthorizedError):
        assert await Side().user(text) is None


HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
GOOD = (
    "{issuer: {url: 'https://a', audiences: [k]}, "
    "claimMappings: {username: {claim: sub, prefix: 'p:'}}}"
)


def test_a_configuration_says_who_issues_and_what_claims_mean() -> None:
    found = parse(
        f"{HEAD}jwt: [{GOOD}]\nanonymous: {{enabled: true, conditions: [{{path: /livez}}]}}"
    )
    assert found.providers == (
        OidcConfig("https://a", ("k",), username_claim="sub", username_prefix="p:"),
    )
    assert found.anonymous is not None
    assert found.anonymous.allows("/livez")
    assert not found.anonymous.allows("/api")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not YAML"),
        ("kind: X", "kind: Invalid value"),
        (f"{HEAD}jwt: [{GOOD}, {GOOD}]", 'jwt[1].issuer.url: Duplicate value: "https://a"'),
        (f"{HEAD}jwt: [{GOOD.replace('https', 'http')}]", "URL scheme must be https"),
        (f"{HEAD}jwt: [{GOOD.replace('audiences', 'aud')}]", 'unknown field "aud"'),
        (f"{HEAD}jwt: [{GOOD.replace('[k]', '[]')}]", "jwt[0].issuer.audiences: Required value"),
        (
            f"{HEAD}jwt: [{GOOD.replace('claim: sub', 'expression: claims.sub')}]",
            "jwt[0].claimMappings.username.expression: Forbidden: CEL expressions",
        ),
        (
            HEAD + "jwt: [" + GOOD.replace(", prefix: 'p:'", "") + "]",
            "jwt[0].claimMappings.username.prefix: Required value",
        ),
        (f"{HEAD}anonymous: {{enabled: maybe}}", "anonymous.enabled: Invalid value"),
        (f"{HEAD}anonymous: {{conditions: [{{path: /a}}]}}", "enabled should be set to true"),
    ],
)
def test_wrong_configurations_are_refused_by_field(text: str, message: str) -> None:
    with pytest.raises(AuthenticationConfigError) as caught:
        parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("claim", "prefix", "expected"),
    [("sub", "", f"{ISSUER}#"), ("email", "", ""), ("sub", "-", ""), ("sub", "x:", "x:")],
)
def test_names_get_the_prefix_that_upstream_gives(claim: str, prefix: str, expected: str) -> None:
    found = of_flags(
        issuer=ISSUER, client_id="k", username_claim=claim, username_prefix=prefix,
        groups_claim="", groups_prefix="", required_claims=["a=b"], algorithms=["RS256"],
        certificate_authority="",
    )  # fmt: skip
    assert found.username_prefix == expected
    assert found.required == {"a": "b"}
