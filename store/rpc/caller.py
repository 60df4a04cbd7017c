"""Who makes a call: by token, or by the common name of a client certificate.

The call that is served stands in a context variable, so that whatever it comes to propose goes
out in its name. Nothing of this is looked at while users and permissions do not count.
Source: etcd, server/auth (AuthInfoFromCtx, AuthInfoFromTLS).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import grpc.aio

from store.mvcc.auth.errors import InvalidAuthTokenError, UserEmptyError
from store.mvcc.auth.state import AuthState
from store.mvcc.command import NOBODY, Identity
from store.rpc.jwt_tokens import JwtTokens
from store.rpc.simple_tokens import SimpleTokens

Context = grpc.aio.ServicerContext[Any, Any]

_CALL: ContextVar[Context | None] = ContextVar("call", default=None)
_TOKEN_FIELDS = ("token", "authorization")
# Set by a gateway that calls on behalf of others, with a certificate of its own.
_GATEWAY_FIELD = "grpcgateway-accept"


class Callers:
    def __init__(
        self, state: AuthState, tokens: SimpleTokens | JwtTokens, *, client_cert_auth: bool
    ) -> None:
        self.tokens = tokens
        self._state = state
        self._client_cert_auth = client_cert_auth

    def names_count(self) -> bool:
        """Whether the common name of a client's certificate is taken for a user."""
        return self._client_cert_auth and self._state.enabled

    def enter(self, context: Context) -> None:
        """What this task does from now on is done for the caller behind `context`."""
        _CALL.set(context)

    def unheard_index(self) -> int:
        """Where in the log the present call's token was handed out, if it is not known here.

        0 where nothing is to be waited for. The index is what the token says: anybody may send
        any. Source: etcd, server/auth (tokenSimple).
        """
        context = _CALL.get()
        if not self._state.enabled or context is None or isinstance(self.tokens, JwtTokens):
            return 0
        token = _token_in(dict(context.invocation_metadata() or ()))
        if token is None or self.tokens.user_of(token) is not None:
            return 0
        index = token.rpartition(".")[2]
        return int(index) if index.isascii() and index.isdigit() and len(index) < 20 else 0

    def identity(self) -> Identity:
        """Who the present call is from; NOBODY also while users do not count.

        Raises:
            InvalidAuthTokenError: there is a token, and it is not a good one.
        """
        context = _CALL.get()
        if not self._state.enabled or context is None:
            return NOBODY
        metadata = dict(context.invocation_metadata() or ())
        token = _token_in(metadata)
        if token is not None:
            return self._by_token(token)
        if not self._client_cert_auth or _GATEWAY_FIELD in metadata:
            return NOBODY
        names = list(context.auth_context().get("x509_common_name", ()))
        if not names:
            return NOBODY
        return Identity(names[0].decode(errors="replace"), self._state.revision)

    def _by_token(self, token: str) -> Identity:
        if isinstance(self.tokens, JwtTokens):
            found = self.tokens.identity_of(token)
        else:
            user = self.tokens.user_of(token)
            found = None if user is None else Identity(user, self._state.revision)
        if found is None:
            raise InvalidAuthTokenError
        return found

    def check_known(self) -> None:
        """Raises UserEmptyError: users count, and the caller is none."""
        if self._state.enabled and not self.identity().user:
            raise UserEmptyError

    def check_admin(self) -> None:
        """Raises UserEmptyError, PermissionDeniedError."""
        if self._state.enabled:
            self._state.check_admin(self.identity())

    def check_read(self, key: bytes, end: bytes = b"") -> None:
        """Raises UserEmptyError, AuthOldRevisionError, PermissionDeniedError."""
        if self._state.enabled:
            self._state.check_read(self.identity(), key, end)


def _token_in(metadata: Mapping[str, str | bytes]) -> str | None:
    for field in _TOKEN_FIELDS:
        token = metadata.get(field)
        if token is not None:
            return str(token).removeprefix("Bearer ")
    return None
