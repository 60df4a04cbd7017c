"""Issues ServiceAccount tokens: what a TokenRequest asks for, signed.

Source: Kubernetes authentication.k8s.io/v1 TokenRequest; KEP-1205, KEP-4193.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from apiserver.reader import Writer
from kubraft.api.errors import BadRequestError, Cause, ConflictError, InvalidError, NotFoundError
from kubraft.api.gvk import NODE, POD, SECRET, GroupVersionKind
from kubraft.api.object import Object
from kubraft.service_account import user_name
from kubraft.signing_keys import SigningKey, sign_claims

EXPIRATION_S_DEFAULT: Final = 3_600
EXPIRATION_S_MIN: Final = 600
EXPIRATION_S_MAX: Final = 1 << 32

_BOUND_KINDS: Final = {("v1", "Pod"): POD, ("v1", "Secret"): SECRET, ("v1", "Node"): NODE}


class TokenIssuer:
    """Signs tokens for ServiceAccounts; who may ask is authorization's business."""

    def __init__(
        self,
        *,
        key: SigningKey,
        issuer: str,
        audiences: Sequence[str],
        writer: Writer,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """`audiences` are those of a request that names none; `now` answers in Unix seconds."""
        self._key = key
        self._issuer = issuer
        self._audiences = tuple(audiences)
        self._writer = writer
        self._now = now
        self._new_id = new_id

    async def issue(self, service_account: Object, request: Object) -> Object:
        """Answer a TokenRequest for `service_account`: the same object with its status.

        Raises:
            InvalidError: the expiration or the bound object reference is out of range.
            NotFoundError: there is no such bound object.
            ConflictError: the bound object has another uid.
            BadRequestError: the bound Pod runs as another ServiceAccount.
        """
        spec = dict(request.get("spec") or {})
        expiration_s = spec.get("expirationSeconds", EXPIRATION_S_DEFAULT)
        _check_expiration(expiration_s)
        audiences = list(spec.get("audiences") or self._audiences)
        metadata = service_account["metadata"]
        private: dict[str, Any] = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if spec.get("boundObjectRef"):
            private.update(await self._bound(spec["boundObjectRef"], metadata))
        now = int(self._now())
        claims = {
            "aud": audiences,
            "exp": now + expiration_s,
            "iat": now,
            "iss": self._issuer,
            "jti": self._new_id(),
            "kubernetes.io": private,
            "nbf": now,
            "sub": user_name(metadata["namespace"], metadata["name"]),
        }
        return {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "spec": {**spec, "audiences": audiences, "expirationSeconds": expiration_s},
            "status": {
                "token": sign_claims(self._key, claims),
                "expirationTimestamp": datetime.fromtimestamp(now + expiration_s, UTC).strftime(
                    "%Y-%m-%dT%H:%M:%SZ"
                ),
            },
        }

    async def _bound(self, ref: dict[str, Any], account: dict[str, Any]) -> dict[str, Any]:
        """The private claims of a bound object that exists with the uid that is asked for."""
        gvk = _bound_kind(ref)
        namespace = "" if gvk == NODE else account["namespace"]
        bound = await self._writer.get(gvk, namespace, ref["name"])
        uid = bound["metadata"]["uid"]
        if ref.get("uid") and ref["uid"] != uid:
            raise ConflictError(
                f'Operation cannot be fulfilled on {gvk.kind} "{ref["name"]}": the UID in the '
                f"bound object reference ({ref['uid']}) does not match the UID in record. "
                "The object might have been deleted and then recreated",
                kind=gvk.kind,
                name=ref["name"],
            )
        claims = {gvk.kind.lower(): {"name": ref["name"], "uid": uid}}
        if gvk == POD:
            spec = bound["spec"]
            if spec.get("serviceAccountName") != account["name"]:
                raise BadRequestError(
                    f'cannot bind token for serviceaccount "{account["name"]}" to pod running '
                    "with different serviceaccount name."
                )
            if spec.get("nodeName"):
                claims.update(await self._node_claim(spec["nodeName"]))
        return claims

    async def _node_claim(self, name: str) -> dict[str, Any]:
        try:
            node = await self._writer.get(NODE, "", name)
        except NotFoundError:
            return {}
        return {"node": {"name": name, "uid": node["metadata"]["uid"]}}


def _check_expiration(expiration_s: Any) -> None:
    if isinstance(expiration_s, bool) or not isinstance(expiration_s, int):
        message = f"Invalid value: {json.dumps(expiration_s)}: must be an integer"
    elif expiration_s < EXPIRATION_S_MIN:
        message = f"Invalid value: {expiration_s}: may not specify a duration less than 10 minutes"
    elif expiration_s > EXPIRATION_S_MAX:
        message = (
            f"Invalid value: {expiration_s}: may not specify a duration larger than 2^32 seconds"
        )
    else:
        return
    raise _invalid("FieldValueInvalid", message, "spec.expirationSeconds")


def _bound_kind(ref: dict[str, Any]) -> GroupVersionKind:
    gvk = _BOUND_KINDS.get((ref.get("apiVersion", ""), ref.get("kind", "")))
    if gvk is None:
        api_version = str(ref.get("apiVersion", ""))
        qualified = api_version if "/" in api_version else f"/{api_version}"
        raise BadRequestError(
            f"cannot bind token to object of type {qualified}, Kind={ref.get('kind', '')}"
        )
    if not ref.get("name"):
        raise _invalid("FieldValueRequired", "Required value", "spec.boundObjectRef.name")
    return gvk


def _invalid(reason: str, message: str, field: str) -> InvalidError:
    return InvalidError(
        f'TokenRequest.authentication.k8s.io "" is invalid: {field}: {message}',
        group="authentication.k8s.io",
        kind="TokenRequest",
        causes=[Cause(reason, message, field)],
    )
