"""Who asks: tries each way of authentication that the request's credentials allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from apiserver.authn.certificate import CertificateAuthenticator
from apiserver.authn.credentials import Credentials
from apiserver.authn.token_file import TokenFile
from apiserver.user import User
from kubraft.api.errors import UnauthorizedError
from kubraft.log import get_logger

AUTHENTICATED_GROUP: Final = "system:authenticated"
TOKEN_CHARS_MAX: Final = 16_384

_log = get_logger("apiserver.authn")


class TokenAuthenticator(Protocol):
    """One way to know a bearer token."""

    async def authenticate(self, token: str, audiences: tuple[str, ...] = ()) -> User | None:
        """The user; None where the token is not of its kind.

        Raises:
            UnauthorizedError: it is of its kind, and no good.
        """
        ...


class Authenticator:
    """The union of certificates and tokens, in this order; the first that knows the caller decides.

    There is no anonymous user: a request that shows nothing is refused.
    """

    def __init__(
        self,
        *,
        certificates: CertificateAuthenticator,
        tokens: TokenFile,
        service_accounts: TokenAuthenticator | None,
        others: Sequence[TokenAuthenticator] = (),
        audiences: Sequence[str] = (),
    ) -> None:
        """`others` come after the token file and ServiceAccounts; `audiences` are the server's."""
        self._certificates = certificates
        self._tokens = tokens
        self._service_accounts = service_accounts
        self._others = tuple(others)
        self._audiences = frozenset(audiences)

    async def authenticate(self, credentials: Credentials) -> User:
        """The user who shows `credentials`, a member of system:authenticated.

        Raises:
            UnauthorizedError: "Unauthorized", whatever the reason.
        """
        try:
            return _authenticated(await self._identify(credentials))
        except UnauthorizedError as error:
            _log.info("authentication_refused", reason=_reason(error))
            raise

    async def _identify(self, credentials: Credentials) -> User:
        notes: list[str] = []
        if credentials.client_certificate:
            try:
                return self._certificates.authenticate(credentials.client_certificate)
            except UnauthorizedError as error:
                notes += _notes(error)
        token = credentials.bearer_token
        if token and (len(token) > TOKEN_CHARS_MAX or not token.isascii()):
            notes.append("the token is too long, or not ASCII")
        elif token:
            user = await self._of_token(token, credentials.audiences, notes)
            if user is not None:
                return user
        refusal = UnauthorizedError("Unauthorized")
        for note in notes:
            refusal.add_note(note)
        raise refusal

    async def _of_token(
        self, token: str, audiences: tuple[str, ...], notes: list[str]
    ) -> User | None:
        # Tokens that name no audience are for this server.
        ours = not audiences or not self._audiences.isdisjoint(audiences)
        user = self._tokens.authenticate(token) if ours else None
        if user is not None:
            return user
        sources = [self._service_accounts] if self._service_accounts is not None else []
        for source in (*sources, *self._others):
            if source is not self._service_accounts and not ours:
                continue
            try:
                user = await source.authenticate(token, audiences)
            except UnauthorizedError as error:
                notes += _notes(error)
            else:
                if user is not None:
                    return user
        return None


def _notes(error: UnauthorizedError) -> list[str]:
    return getattr(error, "__notes__", [])


def _reason(error: UnauthorizedError) -> str:
    return "; ".join(_notes(error)) or "no usable certificate or known token"


def _authenticated(user: User) -> User:
    if AUTHENTICATED_GROUP in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED_GROUP))
