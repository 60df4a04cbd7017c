"""Who asks: tries each way of authentication that the request's credentials allow."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from apiserver.authn.certificate import CertificateAuthenticator
from apiserver.authn.credentials import Credentials
from apiserver.authn.service_account import ServiceAccountAuthenticator
from apiserver.authn.token_file import TokenFile
from apiserver.user import User
from kubraft.api.errors import UnauthorizedError
from kubraft.log import get_logger

AUTHENTICATED_GROUP: Final = "system:authenticated"

_log = get_logger("apiserver.authn")


class Authenticator:
    """The union of certificates, static tokens and ServiceAccount tokens, in this order.

    There is no anonymous user: a request that shows nothing is refused.
    """

    def __init__(
        self,
        *,
        certificates: CertificateAuthenticator,
        tokens: TokenFile,
        service_accounts: ServiceAccountAuthenticator | None,
    ) -> None:
        self._certificates = certificates
        self._tokens = tokens
        self._service_accounts = service_accounts

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
        if credentials.client_certificate:
            return self._certificates.authenticate(credentials.client_certificate)
        if credentials.bearer_token:
            user = self._tokens.authenticate(credentials.bearer_token)
            if user is not None:
                return user
            if self._service_accounts is not None:
                return await self._service_accounts.authenticate(credentials.bearer_token)
        raise UnauthorizedError("Unauthorized")


def _reason(error: UnauthorizedError) -> str:
    return "; ".join(getattr(error, "__notes__", ())) or "no usable certificate or known token"


def _authenticated(user: User) -> User:
    if AUTHENTICATED_GROUP in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED_GROUP))
