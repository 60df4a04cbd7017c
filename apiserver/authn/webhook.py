"""Tokens that another service knows: it is sent a TokenReview, and its answer is kept for a while.

Source: Kubernetes documentation, "Webhook Token Authentication".
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, NamedTuple

from apiserver.authn.oidc import refused
from apiserver.authn.provider_keys import Client
from apiserver.bounded_cache import BoundedCache
from apiserver.user import User
from kubraft.api.errors import UnauthorizedError

ANSWERS_MAX: Final = 4_096
REFUSED_TTL_S: Final = 10.0
TOKEN_CHARS_MAX: Final = 16_384
API_VERSIONS: Final = {
    "v1": "authentication.k8s.io/v1",
    "v1beta1": "authentication.k8s.io/v1beta1",
}


class _Answer(NamedTuple):
    until_s: float
    user: User | None


class WebhookTokens:
    """Asks `url`; what it said of a token is remembered by the token's digest."""

    def __init__(
        self,
        url: str,
        client: Client,
        now: Callable[[], float],
        *,
        version: str = "v1",
        ttl_s: float = 120.0,
    ) -> None:
        self._url = url
        self._client = client
        self._now = now
        self._api_version = API_VERSIONS[version]
        self._ttl_s = ttl_s
        self._answers: BoundedCache[bytes, _Answer] = BoundedCache(ANSWERS_MAX)

    async def authenticate(self, token: str, audiences: tuple[str, ...] = ()) -> User | None:
        """The user of a token; None where the service knows none.

        Raises:
            UnauthorizedError: the service cannot be asked, or does not answer sensibly.
        """
        if len(token) > TOKEN_CHARS_MAX:
            return None
        text = "\0".join((token, *audiences))
        digest = sha256(text.encode("utf-8", "surrogatepass")).digest()
        answer = self._answers.find(digest)
        now_s = self._now()
        if answer is None or answer.until_s <= now_s:
            user = await self._ask(token, audiences)
            answer = _Answer(now_s + (self._ttl_s if user else REFUSED_TTL_S), user)
            self._answers.put(digest, answer)
        return answer.user

    async def _ask(self, token: str, audiences: tuple[str, ...]) -> User | None:
        spec: dict[str, Any] = {"token": token}
        if audiences:
            spec["audiences"] = list(audiences)
        review = {"apiVersion": self._api_version, "kind": "TokenReview", "spec": spec}
        answer = await self._client.ask("POST", self._url, review)
        status = answer.get("status") if isinstance(answer, dict) else None
        if not isinstance(status, dict):
            raise refused("the webhook did not answer with a TokenReview")
        if status.get("authenticated") is not True:
            return None
        if audiences and not set(status.get("audiences") or ()) & set(audiences):
            return None
        return _user(status.get("user"))


def _user(shown: Any) -> User:
    """The user of a TokenReview's status; raises UnauthorizedError where it is none."""
    if not isinstance(shown, dict):
        raise _malformed()
    name, uid = shown.get("username"), shown.get("uid") or ""
    groups, extra = shown.get("groups") or [], shown.get("extra") or {}
    if not isinstance(name, str) or not name or not isinstance(uid, str):
        raise _malformed()
    if not _are_texts(groups) or not isinstance(extra, dict):
        raise _malformed()
    if not all(isinstance(key, str) and _are_texts(extra[key]) for key in extra):
        raise _malformed()
    return User(name, uid, tuple(groups), {key: tuple(extra[key]) for key in extra})


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _malformed() -> UnauthorizedError:
    return refused("the webhook's user is malformed")
