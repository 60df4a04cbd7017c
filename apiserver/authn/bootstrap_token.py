"""Bootstrap tokens: how what is not yet part of a cluster joins it.

A token is ID.SECRET of a Secret in kube-system; it speaks for system:bootstrap:ID until the Secret
expires or is deleted.

Source: Kubernetes documentation, "Authenticating with Bootstrap Tokens".
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from apiserver.authn.refusal import refused
from apiserver.reader import Reader
from apiserver.user import User
from kubraft.api.gvk import SECRET
from kubraft.api.object import Object

SECRET_TYPE: Final = "bootstrap.kubernetes.io/token"  # noqa: S105 - a type
NAMESPACE: Final = "kube-system"
GROUP: Final = "system:bootstrappers"
_TOKEN: Final = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})", re.ASCII)
_EXTRA_GROUP: Final = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]", re.ASCII)


class BootstrapTokens:
    """Answers from the cache of Secrets."""

    def __init__(self, reader: Reader, now: Callable[[], float]) -> None:
        """`now` answers in Unix seconds."""
        self._reader = reader
        self._now = now

    async def authenticate(self, token: str, audiences: tuple[str, ...] = ()) -> User | None:
        """The user of a bootstrap token; None for what does not look like one.

        Raises:
            UnauthorizedError: its note says what does not hold.
        """
        del audiences
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            return None
        token_id, secret = parts.groups()
        found = self._reader.get(SECRET, NAMESPACE, f"bootstrap-token-{token_id}")
        if found is None:
            raise refused("there is no such bootstrap token")
        groups = _groups(found, token_id, secret, self._now())
        return User(f"system:bootstrap:{token_id}", groups=groups)


def _groups(found: Object, token_id: str, secret: str, now_s: float) -> tuple[str, ...]:
    if found["metadata"].get("deletionTimestamp"):
        raise refused("the bootstrap token is being deleted")
    if found.get("type") != SECRET_TYPE:
        raise refused("the Secret is not of the type of bootstrap tokens")
    held = _text(found, "token-secret")
    if not held or not hmac.compare_digest(held.encode(), secret.encode()):
        raise refused("the bootstrap token has another secret")
    if _text(found, "token-id") != token_id:
        raise refused("the Secret is of another bootstrap token")
    if _is_expired(_text(found, "expiration"), now_s):
        raise refused("the bootstrap token has expired")
    if _text(found, "usage-bootstrap-authentication") != "true":
        raise refused("the bootstrap token is not for authentication")
    extra = _text(found, "auth-extra-groups")
    named = sorted(set(extra.split(","))) if extra else []
    if any(_EXTRA_GROUP.fullmatch(group) is None for group in named):
        raise refused("the bootstrap token names groups that it may not have")
    return (GROUP, *named)


def _is_expired(text: str, now_s: float) -> bool:
    """Whether it is over; a time that cannot be read is."""
    if not text:
        return False
    try:
        ends = datetime.fromisoformat(text)
    except ValueError:
        return True
    return ends.tzinfo is None or ends.timestamp() <= now_s


def _text(secret: Object, field: str) -> str:
    try:
        return base64.b64decode((secret.get("data") or {}).get(field, "")).decode()
    except (binascii.Error, ValueError):
        return ""
