"""The Auth service. Source: etcd v3 API, Auth; etcd, server/etcdserver (v3_server.go).

Passwords are hashed and checked here, before anything is proposed; the log never has one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.message import Message

from kubraft.pb.authpb.auth_pb2 import Permission
from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.mvcc.auth.errors import (
    AuthFailedError,
    AuthNotEnabledError,
    NoPasswordUserError,
)
from store.mvcc.auth.state import ROOT
from store.mvcc.command import NOBODY, Identity, Kind
from store.mvcc.wire import field_bytes
from store.rpc import passwords
from store.rpc.errors import RefusedError
from store.rpc.jwt_tokens import JwtTokens
from store.rpc.service import MemberServices, parse
from store.rpc.simple_tokens import random_part

Verb = Callable[[MemberServices, bytes], Awaitable[bytes]]

_CANNOT_SIGN = "auth: token signing attempted with verify-only key"
_ALL_KEYS = Permission(permType=Permission.READWRITE, range_end=b"\0")


def _proposing(kind: Kind, message: type[Message]) -> Verb:
    """A verb that goes through the log as it came."""

    async def verb(services: MemberServices, data: bytes) -> bytes:
        parse(message, data)
        return services.response(await services.propose(kind, data))

    return verb


def _answer(services: MemberServices, response: Message) -> bytes:
    return services.header(services.store.revision) + response.SerializeToString()


async def status(services: MemberServices, data: bytes) -> bytes:
    parse(pb.AuthStatusRequest, data)
    await services.make_linearizable()
    services.callers.check_admin()
    auth = services.machine.auth
    response = pb.AuthStatusResponse(enabled=auth.enabled, authRevision=auth.revision)
    return _answer(services, response)


async def authenticate(services: MemberServices, data: bytes) -> bytes:
    """Check a password and hand out a token, again if users changed in between."""
    request = parse(pb.AuthenticateRequest, data)
    await services.make_linearizable()
    auth = services.machine.auth
    while True:
        revision = auth.revision
        await _check_password(services, request)
        tokens = services.callers.tokens
        if isinstance(tokens, JwtTokens):
            if not tokens.can_sign:
                raise RefusedError(grpc.StatusCode.UNKNOWN, _CANNOT_SIGN)
            if auth.revision == revision:
                token = tokens.sign(Identity(request.name, revision))
                return services.header(services.store.revision) + field_bytes(2, token.encode())
            continue
        internal = pb.AuthenticateRequest(name=request.name, password=random_part())
        reply = await services.propose(Kind.AUTHENTICATE, internal.SerializeToString(), NOBODY)
        if auth.revision == revision:
            return services.response(reply)


async def _check_password(services: MemberServices, request: pb.AuthenticateRequest) -> None:
    auth = services.machine.auth
    if not auth.enabled:
        raise AuthNotEnabledError
    user = auth.users.get(request.name)
    if user is None:
        raise AuthFailedError
    if user.options.no_password:
        raise NoPasswordUserError
    if not await passwords.is_password(request.password, user.password):
        raise AuthFailedError


async def user_add(services: MemberServices, data: bytes) -> bytes:
    request = parse(pb.AuthUserAddRequest, data)
    request.hashedPassword = ""
    if not request.options.no_password:
        request.hashedPassword = await passwords.hash_password(
            request.password, cost=services.options.password_cost
        )
    request.password = ""
    return services.response(await services.propose(Kind.USER_ADD, request.SerializeToString()))


async def user_change_password(services: MemberServices, data: bytes) -> bytes:
    request = parse(pb.AuthUserChangePasswordRequest, data)
    request.hashedPassword = await passwords.hash_password(
        request.password, cost=services.options.password_cost
    )
    request.password = ""
    kind = Kind.USER_CHANGE_PASSWORD
    return services.response(await services.propose(kind, request.SerializeToString()))


async def user_get(services: MemberServices, data: bytes) -> bytes:
    """For administrators, and for everybody about themselves."""
    request = parse(pb.AuthUserGetRequest, data)
    await services.make_linearizable()
    if services.machine.auth.enabled and services.callers.identity().user != request.name:
        services.callers.check_admin()
    user = services.machine.auth.user(request.name)
    return _answer(services, pb.AuthUserGetResponse(roles=user.roles))


async def user_list(services: MemberServices, data: bytes) -> bytes:
    parse(pb.AuthUserListRequest, data)
    await services.make_linearizable()
    services.callers.check_admin()
    return _answer(services, pb.AuthUserListResponse(users=sorted(services.machine.auth.users)))


async def role_get(services: MemberServices, data: bytes) -> bytes:
    """For administrators, and for those who have the role."""
    request = parse(pb.AuthRoleGetRequest, data)
    await services.make_linearizable()
    auth = services.machine.auth
    if auth.enabled:
        user = auth.users.get(services.callers.identity().user)
        if user is None or request.role not in user.roles:
            services.callers.check_admin()
    role = auth.role(request.role)
    permissions = [_ALL_KEYS] if request.role == ROOT else role.keyPermission
    return _answer(services, pb.AuthRoleGetResponse(perm=permissions))


async def role_list(services: MemberServices, data: bytes) -> bytes:
    parse(pb.AuthRoleListRequest, data)
    await services.make_linearizable()
    services.callers.check_admin()
    return _answer(services, pb.AuthRoleListResponse(roles=sorted(services.machine.auth.roles)))


VERBS: dict[str, Verb] = {
    "AuthEnable": _proposing(Kind.AUTH_ENABLE, pb.AuthEnableRequest),
    "AuthDisable": _proposing(Kind.AUTH_DISABLE, pb.AuthDisableRequest),
    "AuthStatus": status,
    "Authenticate": authenticate,
    "UserAdd": user_add,
    "UserGet": user_get,
    "UserList": user_list,
    "UserDelete": _proposing(Kind.USER_DELETE, pb.AuthUserDeleteRequest),
    "UserChangePassword": user_change_password,
    "UserGrantRole": _proposing(Kind.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest),
    "UserRevokeRole": _proposing(Kind.USER_REVOKE_ROLE, pb.AuthUserRevokeRoleRequest),
    "RoleAdd": _proposing(Kind.ROLE_ADD, pb.AuthRoleAddRequest),
    "RoleGet": role_get,
    "RoleList": role_list,
    "RoleDelete": _proposing(Kind.ROLE_DELETE, pb.AuthRoleDeleteRequest),
    "RoleGrantPermission": _proposing(
        Kind.ROLE_GRANT_PERMISSION, pb.AuthRoleGrantPermissionRequest
    ),
    "RoleRevokePermission": _proposing(
        Kind.ROLE_REVOKE_PERMISSION, pb.AuthRoleRevokePermissionRequest
    ),
}
