"""Who calls over HTTPS, and as whom.

Source: Kubernetes documentation, "Authenticating": anonymous requests, user impersonation.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from apiserver.authn.anonymous import EVERYWHERE, AnonymousAccess
from apiserver.authn.authenticator import AUTHENTICATED_GROUP
from apiserver.authn.credentials import Credentials
from apiserver.authz.attributes import Attributes, forbidden_error
from apiserver.registry.policy import Authorizer
from apiserver.rpc.caller import Authenticator
from apiserver.user import User
from kubraft.api.errors import BadRequestError, UnauthorizedError
from kubraft.grpc_server.exchange import Exchange

UNAUTHENTICATED_GROUP: Final = "system:unauthenticated"
ANONYMOUS: Final = User("system:anonymous", groups=(UNAUTHENTICATED_GROUP,))
_BEARER = "bearer "
BEARER_PROTOCOL: Final = "base64url.bearer.authorization.k8s.io."
_EXTRA = "impersonate-extra-"
_ACCOUNT = "system:serviceaccount:"


async def user_of(
    exchange: Exchange, authenticator: Authenticator, anonymous: AnonymousAccess = EVERYWHERE
) -> User:
    """The user that the credentials of a request name; without any, the anonymous one.

    Raises:
        UnauthorizedError: there are credentials, but they name nobody; or there are none, and
            `anonymous` does not let such in.
    """
    token: str | None = None
    text = exchange.request.header("authorization")
    if text[: len(_BEARER)].lower() == _BEARER:
        token = text[len(_BEARER) :].strip()
    elif not text:
        token = _token_of_protocol(exchange)
    pem = exchange.auth_context().get("x509_pem_cert")
    certificate = pem[0] if pem else None
    if certificate is None and not token:
        if not anonymous.allows(exchange.request.path):
            raise UnauthorizedError("Unauthorized")
        return ANONYMOUS
    credentials = Credentials(client_certificate=certificate, bearer_token=token)
    return await authenticator.authenticate(credentials)


def _token_of_protocol(exchange: Exchange) -> str | None:
    """The token of a browser's WebSocket, which cannot set other headers than this.

    Source: upstream's websocket protocol authenticator.
    """
    request = exchange.request
    if request.header("upgrade").lower() != "websocket":
        return None
    for part in request.header("sec-websocket-protocol").split(","):
        encoded = part.strip()
        if encoded.startswith(BEARER_PROTOCOL):
            raw = encoded.removeprefix(BEARER_PROTOCOL)
            try:
                return base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)).decode()
            except ValueError:
                raise UnauthorizedError("Unauthorized") from None
    return None


def impersonated(exchange: Exchange, user: User, authorizer: Authorizer) -> User:
    """The user as whom `user` asks to act; itself where it does not ask.

    Raises:
        BadRequestError: the headers do not name a user.
        ForbiddenError: it may not act as that one.
    """
    headers = exchange.request.headers
    wanted = [(name, value) for name, value in headers if name.startswith("impersonate-")]
    if not wanted:
        return user
    name, uid, groups = "", "", []
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in wanted:
        if header == "impersonate-user":
            name = value
        elif header == "impersonate-uid":
            uid = value
        elif header == "impersonate-group":
            groups.append(value)
        elif header.startswith(_EXTRA):
            key = unquote(header.removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), value)
    if not name:
        raise BadRequestError("requested impersonation of a uid, group or extra without a user")
    found = User(name, uid=uid, groups=tuple(groups), extra=extra)
    for attributes in _asked(user, found):
        decision = authorizer.authorize(attributes)
        if not decision.allowed:
            raise forbidden_error(attributes, decision.reason)
    return _with_groups(found)


def _asked(user: User, wanted: User) -> list[Attributes]:
    """What `user` must be allowed to."""
    parts = wanted.name.removeprefix(_ACCOUNT).split(":")
    asked = []
    if wanted.name.startswith(_ACCOUNT) and len(parts) == 2:
        asked.append(
            Attributes(
                user, "impersonate", resource="serviceaccounts", namespace=parts[0], name=parts[1]
            )
        )
    else:
        asked.append(Attributes(user, "impersonate", resource="users", name=wanted.name))
    asked += [
        Attributes(user, "impersonate", resource="groups", name=group) for group in wanted.groups
    ]
    in_group = {"group": "authentication.k8s.io", "version": "v1"}
    if wanted.uid:
        asked.append(Attributes(user, "impersonate", resource="uids", name=wanted.uid, **in_group))
    asked += [
        Attributes(
            user, "impersonate", resource="userextras", subresource=key, name=value, **in_group
        )
        for key, values in wanted.extra.items()
        for value in values
    ]
    return asked


def _with_groups(user: User) -> User:
    """The groups that come with a name, as upstream adds them."""
    groups = user.groups
    if user.name.startswith(_ACCOUNT) and not groups:
        namespace = user.name.removeprefix(_ACCOUNT).partition(":")[0]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    own = UNAUTHENTICATED_GROUP if user.name == ANONYMOUS.name else AUTHENTICATED_GROUP
    return replace(user, groups=groups if own in groups else (*groups, own))
