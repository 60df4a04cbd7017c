"""Fills Secrets of the type service-account-token: token, CA and Namespace; ends what has no owner.

Source: Kubernetes documentation, "Managing Service Accounts, Token controller", "Secrets";
upstream's tokens controller.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

from agents.controllers.context import Context
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import SECRET, SERVICE_ACCOUNT
from kubraft.api.object import Object, ObjectKey, annotations_of, is_terminating, key_of, uid_of
from kubraft.client.controller import Controller
from kubraft.service_account import (
    ACCOUNT_NAME,
    ACCOUNT_UID,
    LEGACY_CLAIM,
    LEGACY_ISSUER,
    SECRET_TYPE,
    user_name,
)
from kubraft.signing_keys import SigningKey, load_signing_key, sign_claims


@dataclass(frozen=True, slots=True)
class Authority:
    """What tokens are signed with, and the CA that goes with them, PEM."""

    key: SigningKey = field(repr=False)
    root_ca: bytes


def filled(secret: Object, account: Object, authority: Authority) -> Object | None:
    """The Secret with all that it should hold; None where it does."""
    metadata, had = secret["metadata"], secret.get("data") or {}
    data = {**had, "namespace": _encoded(metadata["namespace"].encode())}
    if authority.root_ca:
        data["ca.crt"] = _encoded(authority.root_ca)
    if not had.get("token"):
        data["token"] = _encoded(_token(secret, account, authority.key).encode())
    uid = {ACCOUNT_UID: uid_of(account)}
    annotations = {**annotations_of(secret), **uid}
    if data == had and annotations == annotations_of(secret):
        return None
    return {**secret, "metadata": {**metadata, "annotations": annotations}, "data": data}


def is_of(secret: Object, account: Object | None) -> bool:
    """Whether the Secret's ServiceAccount is this one, and lives."""
    if account is None or is_terminating(account):
        return False
    return annotations_of(secret).get(ACCOUNT_UID) in (None, "", uid_of(account))


class ServiceAccountTokenController:
    """Reconciles one Secret at a time; idle where no key is given.

    Raises:
        SigningKeyError: the key cannot be read.
        OSError: the CA cannot be read.
    """

    def __init__(self, context: Context) -> None:
        key, ca = context.options.service_account_private_key_file, context.options.root_ca_file
        self._client = context.client
        self._secrets = context.informers.of(SECRET)
        self._accounts = context.informers.of(SERVICE_ACCOUNT)
        self._controller = Controller(
            "serviceaccount-token-controller",
            self.reconcile,
            workers=context.options.concurrent_serviceaccount_syncs,
            clock=context.clock,
        )
        if key:
            root_ca = Path(ca).read_bytes() if ca else b""
            self._authority = Authority(load_signing_key(Path(key)), root_ca)
            self._secrets.add_handler(self._on_secret)
            self._accounts.add_handler(self._on_account)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Fill the Secret, or delete it where its ServiceAccount is gone."""
        secret = self._secrets.get(key)
        if secret is None or not _is_token(secret) or is_terminating(secret):
            return None
        name = annotations_of(secret).get(ACCOUNT_NAME, "")
        account = self._accounts.get(ObjectKey(key.namespace, name))
        if not is_of(secret, account):
            account = await self._live(name, key.namespace)  # the cache may be behind
        if account is None or not is_of(secret, account):
            await self._end(secret)
        elif (wanted := filled(secret, account, self._authority)) is not None:
            await self._client.update(wanted)
        return None

    async def _live(self, name: str, namespace: str) -> Object | None:
        try:
            return await self._client.get(SERVICE_ACCOUNT, name, namespace)
        except NotFoundError:
            return None

    async def _end(self, secret: Object) -> None:
        key, version = key_of(secret), secret["metadata"]["resourceVersion"]
        try:
            await self._client.delete(
                SECRET, key.name, key.namespace, uid=uid_of(secret), resource_version=version
            )
        except NotFoundError:
            return

    def _on_secret(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and _is_token(new):
            self._controller.queue.add(key_of(new))

    def _on_account(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and not is_terminating(new):
            return
        account = key_of(new or _old or {})
        for secret in self._secrets.list(account.namespace):
            if _is_token(secret) and annotations_of(secret).get(ACCOUNT_NAME) == account.name:
                self._controller.queue.add(key_of(secret))


def _is_token(secret: Object) -> bool:
    return bool(secret.get("type") == SECRET_TYPE)


def _token(secret: Object, account: Object, key: SigningKey) -> str:
    metadata = secret["metadata"]
    namespace, name = metadata["namespace"], account["metadata"]["name"]
    claims = {
        "namespace": namespace,
        "secret.name": metadata["name"],
        "service-account.name": name,
        "service-account.uid": uid_of(account),
    }
    private = {LEGACY_CLAIM + field: value for field, value in claims.items()}
    subject = user_name(namespace, name)
    return sign_claims(key, {"iss": LEGACY_ISSUER, "sub": subject, **private})


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()
