"""The public keys of an OIDC provider: found by discovery, kept, and fetched anew when one is new.

A forged key id makes the server ask the provider; so it asks seldom, and one at a time.

Source: OpenID Connect Discovery 1.0; RFC 7517.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry

from apiserver.authn.oidc import OidcConfig, refused

KEYS_MAX: Final = 128
# Between two questions to the provider, whatever tokens come.
FETCH_INTERVAL_S: Final = 10.0
# Keys that were taken back are known for so long at most.
KEPT_S: Final = 3_600.0


class Client(Protocol):
    """Asks over HTTPS; raises UnauthorizedError."""

    async def ask(self, method: str, url: str, body: Any = None) -> Any: ...


class ProviderKeys:
    """Implements apiserver.authn.oidc.Keys."""

    def __init__(self, config: OidcConfig, client: Client, now: Callable[[], float]) -> None:
        self._config = config
        self._client = client
        self._now = now
        self._keys: list[tuple[str | None, Any]] = []
        self._fetched_s = float("-inf")
        self._asked_s = float("-inf")
        self._one = asyncio.Lock()

    async def find(self, key_id: str | None) -> Sequence[Any]:
        """Keys of that id; all of them where a token names none."""
        found = self._known(key_id)
        stale = self._now() - self._fetched_s > KEPT_S
        if found and not stale:
            return found
        async with self._one:
            if self._now() - self._asked_s >= FETCH_INTERVAL_S:
                self._asked_s = self._now()
                await self._fetch()
        return self._known(key_id)

    def _known(self, key_id: str | None) -> list[Any]:
        return [key for known, key in self._keys if key_id is None or known == key_id]

    async def _fetch(self) -> None:
        issuer = self._config.issuer
        url = self._config.discovery_url or f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        found = await self._client.ask("GET", url)
        if not isinstance(found, dict) or found.get("issuer") != issuer:
            raise refused(f"{url} is of another issuer")
        jwks_uri = found.get("jwks_uri")
        if not isinstance(jwks_uri, str) or not jwks_uri.startswith("https://"):
            raise refused(f"{url} names no place of keys")
        jwks = await self._client.ask("GET", jwks_uri)
        keys = jwks.get("keys") if isinstance(jwks, dict) else None
        if not isinstance(keys, list):
            raise refused(f"{jwks_uri} holds no keys")
        self._keys = [read for key in keys[:KEYS_MAX] if (read := _read(key)) is not None]
        self._fetched_s = self._now()


def _read(key: Any) -> tuple[str | None, Any] | None:
    """Id and key; None for what is not a public key for signatures."""
    if not isinstance(key, dict) or key.get("kty") not in ("RSA", "EC"):
        return None
    if key.get("use", "sig") != "sig":
        return None
    try:
        return key.get("kid"), JWKRegistry.import_key(key)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
