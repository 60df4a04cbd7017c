"""Who calls: the credentials that a gRPC call carries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, cast

from apiserver.authn.credentials import Credentials
from apiserver.rpc.failure import Context
from apiserver.user import User

_BEARER = "bearer "


class Authenticator(Protocol):
    """Raises UnauthorizedError for credentials that name nobody."""

    async def authenticate(self, credentials: Credentials) -> User: ...


def credentials_of(context: Context) -> Credentials:
    """The client certificate of the connection and the bearer token of the call, if any."""
    certificate: bytes | None = None
    auth = cast("Any", context.auth_context())
    if auth.get("x509_pem_cert"):
        certificate = auth["x509_pem_cert"][0]
    token: str | None = None
    metadata = cast("Iterable[tuple[str, str | bytes]]", context.invocation_metadata() or ())
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str):
            if value[: len(_BEARER)].lower() == _BEARER:
                token = value[len(_BEARER) :].strip()
            break
    return Credentials(client_certificate=certificate, bearer_token=token)
