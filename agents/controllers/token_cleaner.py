"""Deletes bootstrap tokens that have expired.

Source: Kubernetes documentation, "Authenticating with Bootstrap Tokens" (token cleaner).
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Final

from agents.controllers.context import Context
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import SECRET
from kubraft.api.object import Object, ObjectKey, key_of, uid_of
from kubraft.api.time import parse_time
from kubraft.client.controller import Controller

NAMESPACE: Final = "kube-system"
TYPE: Final = "bootstrap.kubernetes.io/token"


def left_s(secret: Object, now: datetime) -> float | None:
    """Seconds until the token may go, 0 or less for now; None where it stays.

    A moment that cannot be read is one that has passed: nobody can log in with such a token.
    """
    text = (secret.get("data") or {}).get("expiration")
    if secret.get("type") != TYPE or not text:
        return None
    try:
        moment = parse_time(base64.b64decode(text, validate=True).decode())
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return 0.0
    return (moment - now).total_seconds()


class TokenCleaner:
    """Looks at each bootstrap token when its time has come."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._secrets = context.informers.of(SECRET)
        self._controller = Controller(
            "token-cleaner-controller", self.reconcile, workers=1, clock=context.clock
        )
        self._secrets.add_handler(self._on_secret)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Delete the token if it has expired; returns after how long to look again."""
        secret = self._secrets.get(key)
        wait_s = left_s(secret, self._clock.now()) if secret else None
        if secret is None or wait_s is None or wait_s > 0:
            return wait_s
        version = secret["metadata"]["resourceVersion"]
        try:
            await self._client.delete(
                SECRET, key.name, key.namespace, uid=uid_of(secret), resource_version=version
            )
        except NotFoundError:
            return None
        return None

    def _on_secret(self, _old: Object | None, new: Object | None) -> None:
        if new is None or new["metadata"]["namespace"] != NAMESPACE:
            return
        if left_s(new, self._clock.now()) is not None:
            self._controller.queue.add(key_of(new))
