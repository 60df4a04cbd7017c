"""Signs `kube-public/cluster-info` with each bootstrap token, so that who has a token can trust it.

Source: Kubernetes documentation, "Authenticating with Bootstrap Tokens" (ConfigMap signing);
RFC 7515, appendix F (detached content).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from agents.controllers.context import Context
from agents.controllers.token_cleaner import NAMESPACE, TYPE, left_s
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import CONFIG_MAP, SECRET
from kubraft.api.object import Object, ObjectKey, key_of
from kubraft.client.controller import Controller

CLUSTER_INFO: Final = ObjectKey("kube-public", "cluster-info")
PREFIX: Final = "jws-kubeconfig-"


def signature(content: str, token_id: str, token_secret: str) -> str:
    """A JSON web signature of `content`, which it does not hold itself."""
    header = json.dumps({"alg": "HS256", "kid": token_id}, separators=(",", ":"))
    head, payload = _encode(header.encode()), _encode(content.encode())
    digest = hmac.digest(token_secret.encode(), f"{head}.{payload}".encode(), hashlib.sha256)
    return f"{head}..{_encode(digest)}"


def signed(config_map: Object, secrets: Iterable[Object], now: datetime) -> Object:
    """`config_map` with exactly the signatures of those tokens that may sign and live."""
    data: dict[str, str] = config_map.get("data") or {}
    kept = {name: text for name, text in data.items() if not name.startswith(PREFIX)}
    content = data.get("kubeconfig")
    if content is None:
        return config_map
    for token_id, token_secret in sorted(_tokens(secrets, now)):
        kept[PREFIX + token_id] = signature(content, token_id, token_secret)
    return {**config_map, "data": kept}


def _tokens(secrets: Iterable[Object], now: datetime) -> Iterable[tuple[str, str]]:
    for secret in secrets:
        if secret.get("type") != TYPE or secret["metadata"]["namespace"] != NAMESPACE:
            continue
        token_id, token_secret = _value(secret, "token-id"), _value(secret, "token-secret")
        left = left_s(secret, now)
        signs = _value(secret, "usage-bootstrap-signing") == "true"
        named = secret["metadata"]["name"] == f"bootstrap-token-{token_id}"
        if signs and named and token_id and token_secret and (left is None or left > 0):
            yield token_id, token_secret


def _value(secret: Object, name: str) -> str:
    try:
        return base64.b64decode((secret.get("data") or {}).get(name) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class BootstrapSigner:
    """One object, looked at when it or a token changes."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._secrets = context.informers.of(SECRET)
        self._config_maps = context.informers.of(CONFIG_MAP)
        self._controller = Controller(
            "bootstrap-signer-controller", self.reconcile, workers=1, clock=context.clock
        )
        self._secrets.add_handler(self._on_secret)
        self._config_maps.add_handler(self._on_config_map)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Bring the signatures to the tokens."""
        known = self._config_maps.get(key)
        if known is None:
            return None
        fresh = signed(known, self._secrets.list(NAMESPACE), self._clock.now())
        if fresh != known:
            try:
                await self._client.update(fresh)
            except NotFoundError:
                return None
        return None

    def _on_config_map(self, old: Object | None, new: Object | None) -> None:
        if key_of(new or old or {}) == CLUSTER_INFO:
            self._controller.queue.add(CLUSTER_INFO)

    def _on_secret(self, old: Object | None, new: Object | None) -> None:
        obj = new or old or {}
        if obj.get("type") == TYPE and obj["metadata"]["namespace"] == NAMESPACE:
            self._controller.queue.add(CLUSTER_INFO)
