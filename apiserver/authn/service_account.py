"""ServiceAccount tokens: what they claim, and whether those claims hold now.

A token is signed by one of the cluster's keys, for our issuer and audience, within its time; and
the ServiceAccount, and the Pod, Secret or Node that it is bound to, still exist with the uid that
the token names. So deleting a Pod ends its tokens.

Source: Kubernetes service account tokens (KEP-1205, KEP-4193); RFC 7519.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError

from apiserver.authn.legacy_token import LegacyClaims, check_secret, holds, legacy_claims
from apiserver.authn.refusal import refused
from apiserver.bounded_cache import BoundedCache
from apiserver.reader import Reader, Writer
from apiserver.user import User
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import NODE, POD, SECRET, SERVICE_ACCOUNT, GroupVersionKind
from kubraft.api.object import Object
from kubraft.service_account import LEGACY_ISSUER, user_name
from kubraft.signing_keys import ALGORITHMS, VerifyingKey

# Longer than any token that we sign; what is longer is refused unread.
TOKEN_CHARS_MAX: Final = 8_192
VERIFIED_TOKENS_MAX: Final = 4_096

# A token may be used this long before "nbf" (clocks differ) and this long after its Pod or
# ServiceAccount began to be deleted (a Pod may say goodbye). Source: upstream's claims validator.
CLOCK_SKEW_S: Final = 60
DELETION_LEEWAY_S: Final = 60

_BINDINGS: Final = (("pod", POD), ("secret", SECRET), ("node", NODE))


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """The claims of one token of ours, types checked. Times are Unix seconds."""

    namespace: str
    service_account: str
    service_account_uid: str
    bound: tuple[tuple[str, str, str], ...]  # ("pod", name, uid), ...
    token_id: str
    audiences: tuple[str, ...]
    not_before_s: float
    expires_s: float


class ServiceAccountAuthenticator:
    """Verifies ServiceAccount tokens.

    A signature is verified once a token (the cache holds digests, not tokens); time and live
    objects are checked on every request. An object that the cache does not have is asked of the
    store, because a token may be younger than this replica's cache.
    """

    def __init__(
        self,
        *,
        keys: Sequence[VerifyingKey],
        issuers: Sequence[str],
        audiences: Sequence[str],
        reader: Reader,
        writer: Writer,
        now: Callable[[], float],
    ) -> None:
        self._keys = tuple(keys)
        self._issuers = frozenset(issuers)
        self._audiences = frozenset(audiences)
        self._reader = reader
        self._writer = writer
        self._now = now
        self._verified: BoundedCache[bytes, TokenClaims | LegacyClaims] = BoundedCache(
            VERIFIED_TOKENS_MAX
        )

    async def authenticate(self, token: str, audiences: tuple[str, ...] = ()) -> User:
        """The ServiceAccount's user, if the token is for one of `audiences` (none: for us).

        Raises:
            UnauthorizedError: its note (PEP 678) says what does not hold.
            ServiceUnavailableError: a bound object must be looked up and the store is away.
        """
        claims = self._verify(token)
        if isinstance(claims, LegacyClaims):
            return await self._legacy_user(claims, token, audiences)
        if (frozenset(audiences) or self._audiences).isdisjoint(claims.audiences):
            raise refused("the token is for another audience")
        now = self._now()
        if now >= claims.expires_s:
            raise refused("the token has expired")
        if now < claims.not_before_s - CLOCK_SKEW_S:
            raise refused("the token is not valid yet")
        await self._check_live(
            SERVICE_ACCOUNT, claims.namespace, claims.service_account, claims.service_account_uid
        )
        for field, gvk in _BINDINGS:
            for kind, name, uid in claims.bound:
                # A Pod's token also names its node, for information; only a token that is bound
                # to nothing but the Node depends on it.
                if kind == field and (kind != "node" or len(claims.bound) == 1):
                    namespace = "" if gvk == NODE else claims.namespace
                    await self._check_live(gvk, namespace, name, uid)
        return _user(claims)

    async def _legacy_user(
        self, claims: LegacyClaims, token: str, audiences: tuple[str, ...]
    ) -> User:
        """The user of a token without audience and end, which holds while its Secret does."""
        if audiences and self._audiences.isdisjoint(audiences):
            raise refused("the token is for another audience")
        secret = self._reader.get(SECRET, claims.namespace, claims.secret)
        if not holds(secret, token):
            secret = await self._look_up(SECRET, claims.namespace, claims.secret)
        check_secret(secret, token)
        await self._check_live(SERVICE_ACCOUNT, claims.namespace, claims.name, claims.uid)
        return account_user(claims.namespace, claims.name, claims.uid)

    def _verify(self, token: str) -> TokenClaims | LegacyClaims:
        if len(token) > TOKEN_CHARS_MAX:
            raise refused("the token is too long")
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._verified.find(digest)
        if claims is None:
            payload = verified_payload(token, self._keys)
            legacy = payload.get("iss") == LEGACY_ISSUER
            claims = (
                legacy_claims(payload) if legacy else parse_claims(payload, issuers=self._issuers)
            )
            self._verified.put(digest, claims)
        return claims

    async def _check_live(self, gvk: GroupVersionKind, namespace: str, name: str, uid: str) -> None:
        obj = self._reader.get(gvk, namespace, name)
        if obj is None or obj["metadata"].get("uid") != uid:
            obj = await self._look_up(gvk, namespace, name)
        if obj is None:
            raise refused(f"{gvk.kind} {namespace}/{name} does not exist")
        if obj["metadata"].get("uid") != uid:
            raise refused(f"{gvk.kind} {namespace}/{name} is another one of the same name")
        deleted = obj["metadata"].get("deletionTimestamp")
        if deleted and self._now() > _unix_s(deleted) + DELETION_LEEWAY_S:
            raise refused(f"{gvk.kind} {namespace}/{name} is being deleted")

    async def _look_up(self, gvk: GroupVersionKind, namespace: str, name: str) -> Object | None:
        try:
            return await self._writer.get(gvk, namespace, name)
        except NotFoundError:
            return None


def verified_payload(token: str, keys: Sequence[VerifyingKey]) -> dict[str, Any]:
    """The claims of a token that one of `keys` signed.

    The key, not the token, decides the algorithm: a token that claims another one, "none"
    included, fits no key.

    Raises:
        UnauthorizedError: malformed, or signed by none of the keys.
    """
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError) as error:
        raise refused("not a JWT") from error
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS or "crit" in header:
        raise refused("the token's algorithm is not served")
    candidates = [key for key in keys if key.algorithm == algorithm]
    candidates.sort(key=lambda key: key.key_id != key_id)
    for key in candidates:
        try:
            signed = jws.deserialize_compact(token, key.jwk, algorithms=[key.algorithm])
            payload = json.loads(signed.payload)
        except (JoseError, ValueError):
            continue
        if isinstance(payload, dict):
            return payload
    raise refused("no key of this cluster signed the token")


def parse_claims(payload: dict[str, Any], *, issuers: frozenset[str]) -> TokenClaims:
    """Read the claims of a verified token.

    Raises:
        UnauthorizedError: of another issuer, or a claim is missing or of a wrong type.
    """
    issuer = payload.get("iss")
    if not isinstance(issuer, str) or issuer not in issuers:
        raise refused("the token is of another issuer")
    audience = payload.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list):
        raise refused("the token is for no audience")
    try:
        private = payload["kubernetes.io"]
        account = private["serviceaccount"]
        namespace, name = _text(private["namespace"]), _text(account["name"])
        claims = TokenClaims(
            namespace=namespace,
            service_account=name,
            service_account_uid=_text(account["uid"]),
            bound=tuple(
                (kind, _text(private[kind]["name"]), _text(private[kind]["uid"]))
                for kind, _ in _BINDINGS
                if kind in private
            ),
            audiences=tuple(one for one in named if isinstance(one, str)),
            token_id=str(payload.get("jti", "")),
            not_before_s=_number(payload.get("nbf", 0)),
            expires_s=_number(payload["exp"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise refused("a claim is missing or malformed") from error
    if payload.get("sub") != user_name(namespace, name):
        raise refused("the subject is not the ServiceAccount that the token names")
    return claims


def _user(claims: TokenClaims) -> User:
    extra: dict[str, tuple[str, ...]] = {}
    if claims.token_id:
        extra["authentication.kubernetes.io/credential-id"] = (f"JTI={claims.token_id}",)
    for kind, name, uid in claims.bound:
        if kind != "secret":
            extra[f"authentication.kubernetes.io/{kind}-name"] = (name,)
            extra[f"authentication.kubernetes.io/{kind}-uid"] = (uid,)
    return account_user(claims.namespace, claims.service_account, claims.service_account_uid, extra)


def account_user(
    namespace: str, name: str, uid: str, extra: Mapping[str, tuple[str, ...]] | None = None
) -> User:
    """The user that a ServiceAccount is."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return User(user_name(namespace, name), uid=uid, groups=groups, extra=dict(extra or {}))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("not a text")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    return float(value)


def _unix_s(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
