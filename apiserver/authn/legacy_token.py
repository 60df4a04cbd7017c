"""Tokens that a Secret holds: without audience and without end, good while the Secret is there.

Source: Kubernetes documentation, "Managing Service Accounts, Manual Secret management"; upstream's
validator of legacy tokens (claims, the label that ends one).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from apiserver.authn.refusal import refused
from kubraft.api.object import Object, labels_of
from kubraft.service_account import LEGACY_CLAIM, user_name

INVALID_SINCE: Final = "kubernetes.io/legacy-token-invalid-since"


@dataclass(frozen=True, slots=True)
class LegacyClaims:
    """The claims of one such token, types checked; `name` and `uid` are the ServiceAccount's."""

    namespace: str
    name: str
    uid: str
    secret: str


def legacy_claims(payload: Mapping[str, Any]) -> LegacyClaims:
    """Read the claims of a verified token.

    Raises:
        UnauthorizedError: a claim is missing or of a wrong type.
    """
    fields = ("namespace", "service-account.name", "service-account.uid", "secret.name")
    values = [payload.get(LEGACY_CLAIM + field) for field in fields]
    if not all(isinstance(value, str) and value for value in values):
        raise refused("a claim is missing or malformed")
    claims = LegacyClaims(*(str(value) for value in values))
    if payload.get("sub") != user_name(claims.namespace, claims.name):
        raise refused("the subject is not the ServiceAccount that the token names")
    return claims


def holds(secret: Object | None, token: str) -> bool:
    """Whether the Secret is there to stay, and has this very token."""
    if secret is None or secret["metadata"].get("deletionTimestamp"):
        return False
    try:
        held = base64.b64decode((secret.get("data") or {}).get("token", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(held, token.encode("utf-8", "surrogatepass"))


def check_secret(secret: Object | None, token: str) -> None:
    """Whether the token is good.

    Raises:
        UnauthorizedError: its Secret is gone, has another token, or is marked as invalid.
    """
    if not holds(secret, token):
        raise refused("the token's Secret is gone, or holds another token")
    if INVALID_SINCE in labels_of(secret or {"metadata": {}}):
        raise refused("the token's Secret is marked as invalid")
