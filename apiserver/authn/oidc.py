"""Users of an OIDC provider: what an id token must be, and whom it names. Pure but for its keys.

Source: OpenID Connect Core 1.0, "ID Token Validation"; Kubernetes documentation, "OpenID Connect
Tokens" and AuthenticationConfiguration.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Protocol

from joserfc import jws
from joserfc.errors import JoseError

from apiserver.authn import refusal
from apiserver.bounded_cache import BoundedCache
from apiserver.user import User
from kubraft.api.errors import UnauthorizedError

TOKEN_CHARS_MAX: Final = 16_384
VERIFIED_MAX: Final = 4_096
GROUPS_MAX: Final = 1_024
# What a provider's clock may be ahead of ours. Source: upstream's OIDC library, for "nbf".
NOT_BEFORE_LEEWAY_S: Final = 300
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """One provider. `username_prefix` and the like are put before what the claims say."""

    issuer: str
    audiences: tuple[str, ...]
    discovery_url: str = ""
    certificate_authority: str = ""  # PEM; the system's where empty
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = ""
    groups_prefix: str = ""
    uid_claim: str = ""
    required: Mapping[str, str] = field(default_factory=dict)
    algorithms: tuple[str, ...] = ALGORITHMS


class Keys(Protocol):
    """The provider's public keys."""

    async def find(self, key_id: str | None) -> Sequence[Any]:
        """Keys (joserfc) that may have that id; fetched anew where none is known.

        Raises:
            UnauthorizedError: the provider cannot be asked.
        """
        ...


class OidcAuthenticator:
    """Verifies id tokens of one provider; signatures once a token, times on every request."""

    def __init__(self, config: OidcConfig, keys: Keys, now: Callable[[], float]) -> None:
        """`now` answers in Unix seconds."""
        self._config = config
        self._keys = keys
        self._now = now
        self._verified: BoundedCache[bytes, dict[str, Any]] = BoundedCache(VERIFIED_MAX)

    async def authenticate(self, token: str, audiences: tuple[str, ...] = ()) -> User | None:
        """The user that an id token names; None where it is not of this provider.

        Raises:
            UnauthorizedError: its note says what does not hold.
        """
        del audiences
        if len(token) > TOKEN_CHARS_MAX or token.count(".") != 2:
            return None
        if _unverified(token.split(".")[1]).get("iss") != self._config.issuer:
            return None
        claims = await self._claims(token)
        check_times(claims, self._now())
        return user_of(claims, self._config)

    async def _claims(self, token: str) -> dict[str, Any]:
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._verified.find(digest)
        if claims is None:
            claims = await self._verify(token)
            self._verified.put(digest, claims)
        return claims

    async def _verify(self, token: str) -> dict[str, Any]:
        header = _unverified(token.split(".", maxsplit=1)[0])
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in self._config.algorithms or "crit" in header:
            raise refused("the token's algorithm is not served")
        if key_id is not None and not isinstance(key_id, str):
            raise refused("the token's key id is no text")
        for key in await self._keys.find(key_id):
            try:
                signed = jws.deserialize_compact(token, key, algorithms=[algorithm])
                payload = json.loads(signed.payload)
            except (JoseError, ValueError, TypeError, RecursionError):
                continue
            if isinstance(payload, dict):
                return payload
        raise refused("no key of the provider signed the token")


def check_times(claims: Mapping[str, Any], now_s: float) -> None:
    """Raises UnauthorizedError where the token is not valid now."""
    expires, begins = claims.get("exp"), claims.get("nbf", 0)
    if not (_is_number(expires) and _is_number(begins)):
        raise refused("a time of the token is missing or malformed")
    assert isinstance(expires, int | float)
    assert isinstance(begins, int | float)
    if now_s >= expires:
        raise refused("the token has expired")
    if now_s < begins - NOT_BEFORE_LEEWAY_S:
        raise refused("the token is not valid yet")


def user_of(claims: Mapping[str, Any], config: OidcConfig) -> User:
    """The user that verified claims name.

    Raises:
        UnauthorizedError: they are of another issuer or for another audience, or lack something.
    """
    if claims.get("iss") != config.issuer:
        raise refused("the token is of another issuer")
    audience = claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not any(one in config.audiences for one in named):
        raise refused("the token is for another audience")
    for claim, value in config.required.items():
        if claims.get(claim) != value:
            raise refused(f"required claim {claim} is not there, or has another value")
    name = claims.get(config.username_claim)
    if not isinstance(name, str) or not name:
        raise refused(f"claim {config.username_claim} is no text")
    if config.username_claim == "email" and claims.get("email_verified", True) is not True:
        raise refused("the e-mail address is not verified")
    uid = claims.get(config.uid_claim, "") if config.uid_claim else ""
    if not isinstance(uid, str):
        raise refused(f"claim {config.uid_claim} is no text")
    return User(config.username_prefix + name, uid=uid, groups=_groups(claims, config))


def _groups(claims: Mapping[str, Any], config: OidcConfig) -> tuple[str, ...]:
    found = claims.get(config.groups_claim) if config.groups_claim else None
    named = [found] if isinstance(found, str) else found
    if named is None:
        return ()
    if not isinstance(named, list) or not all(isinstance(group, str) for group in named):
        raise refused(f"claim {config.groups_claim} is neither a text nor a list of texts")
    if len(named) > GROUPS_MAX:
        raise refused("the token names too many groups")
    return tuple(config.groups_prefix + group for group in named)


def refused(why: str) -> UnauthorizedError:
    """The refusal that a caller sees, with a note for the log."""
    return refusal.refused(f"oidc: {why}")


def _unverified(part: str) -> dict[str, Any]:
    """What a part of a token says of itself; empty where it cannot be read."""
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
