"""Commands that change users and roles. Source: etcd v3 API, Auth; etcd, server/auth (store.go)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from kubraft.pb.authpb.auth_pb2 import Role, User, UserAddOptions
from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from store.mvcc.auth.errors import (
    AuthFailedError,
    AuthNotEnabledError,
    InvalidAuthManagementError,
    PermissionNotGivenError,
    PermissionNotGrantedError,
    RoleEmptyError,
    RoleExistsError,
    RoleNotGrantedError,
    RootRoleNotExistError,
    RootUserNotExistError,
    UserEmptyError,
    UserExistsError,
)
from store.mvcc.auth.permissions import is_valid
from store.mvcc.auth.state import ROOT, AuthState
from store.mvcc.command import Kind
from store.mvcc.wire import field_bytes


class Tokens(Protocol):
    """Simple tokens that are out; each member keeps them in memory, with deadlines of its own."""

    def add(self, user: str, token: str) -> None: ...
    def forget(self, user: str) -> None: ...
    def forget_all(self) -> None: ...


class NoTokens:
    """For a machine that nobody logs in to."""

    def add(self, user: str, token: str) -> None: ...
    def forget(self, user: str) -> None: ...
    def forget_all(self) -> None: ...


Handler = Callable[[Any, int], bytes]


class AuthCommands:
    """Carries out commands on the state; each handler returns the fields of its response."""

    def __init__(self, state: AuthState) -> None:
        self.state = state
        self.tokens: Tokens = NoTokens()
        self.handlers: dict[Kind, Handler] = {
            Kind.AUTH_ENABLE: lambda _, __: self._enable(),
            Kind.AUTH_DISABLE: lambda _, __: self._disable(),
            Kind.AUTHENTICATE: self._authenticate,
            Kind.USER_ADD: lambda request, _: self._user_add(request),
            Kind.USER_DELETE: lambda request, _: self._user_delete(request),
            Kind.USER_CHANGE_PASSWORD: lambda request, _: self._user_change_password(request),
            Kind.USER_GRANT_ROLE: lambda request, _: self._user_grant_role(request),
            Kind.USER_REVOKE_ROLE: lambda request, _: self._user_revoke_role(request),
            Kind.ROLE_ADD: lambda request, _: self._role_add(request),
            Kind.ROLE_DELETE: lambda request, _: self._role_delete(request),
            Kind.ROLE_GRANT_PERMISSION: lambda request, _: self._role_grant(request),
            Kind.ROLE_REVOKE_PERMISSION: lambda request, _: self._role_revoke(request),
        }

    def _enable(self) -> bytes:
        if not self.state.enabled:
            root = self.state.users.get(ROOT)
            if root is None:
                raise RootUserNotExistError
            if ROOT not in root.roles:
                raise RootRoleNotExistError
            self.state.set_enabled(enabled=True)
        return b""

    def _disable(self) -> bytes:
        if self.state.enabled:
            self.state.set_enabled(enabled=False)
            self.state.commit()
            self.tokens.forget_all()
        return b""

    def _authenticate(self, request: pb.AuthenticateRequest, index: int) -> bytes:
        """Hand out a simple token; `password` holds the random part of it."""
        if not self.state.enabled:
            raise AuthNotEnabledError
        user = self.state.users.get(request.name)
        if user is None or user.options.no_password:
            raise AuthFailedError
        token = f"{request.password}.{index}"
        self.tokens.add(request.name, token)
        return field_bytes(2, token.encode())

    def _user_add(self, request: pb.AuthUserAddRequest) -> bytes:
        if not request.name:
            raise UserEmptyError
        if request.name in self.state.users:
            raise UserExistsError
        self.state.put_user(
            User(
                name=request.name.encode(),
                password=request.hashedPassword.encode(),
                options=UserAddOptions(no_password=request.options.no_password),
            )
        )
        self.state.commit()
        return b""

    def _user_delete(self, request: pb.AuthUserDeleteRequest) -> bytes:
        if self.state.enabled and request.name == ROOT:
            raise InvalidAuthManagementError
        self.state.user(request.name)
        self.state.delete_user(request.name)
        self.state.commit()
        self.tokens.forget(request.name)
        return b""

    def _user_change_password(self, request: pb.AuthUserChangePasswordRequest) -> bytes:
        user = self.state.user(request.name)
        if not user.options.no_password:
            user.password = request.hashedPassword.encode()
        self.state.put_user(user)
        self.state.commit()
        self.tokens.forget(request.name)
        return b""

    def _user_grant_role(self, request: pb.AuthUserGrantRoleRequest) -> bytes:
        user = self.state.user(request.user)
        if request.role != ROOT:
            self.state.role(request.role)
        if request.role not in user.roles:
            user.roles[:] = sorted((*user.roles, request.role))
            self.state.put_user(user)
            self.state.commit()
        return b""

    def _user_revoke_role(self, request: pb.AuthUserRevokeRoleRequest) -> bytes:
        if self.state.enabled and request.name == ROOT and request.role == ROOT:
            raise InvalidAuthManagementError
        user = self.state.user(request.name)
        if request.role not in user.roles:
            raise RoleNotGrantedError
        user.roles.remove(request.role)
        self.state.put_user(user)
        self.state.commit()
        return b""

    def _role_add(self, request: pb.AuthRoleAddRequest) -> bytes:
        if not request.name:
            raise RoleEmptyError
        if request.name in self.state.roles:
            raise RoleExistsError
        self.state.put_role(Role(name=request.name.encode()))
        self.state.commit()
        return b""

    def _role_delete(self, request: pb.AuthRoleDeleteRequest) -> bytes:
        if self.state.enabled and request.role == ROOT:
            raise InvalidAuthManagementError
        self.state.role(request.role)
        self.state.delete_role(request.role)
        for _, user in sorted(self.state.users.items()):
            if request.role in user.roles:
                user.roles.remove(request.role)
                self.state.put_user(user)
        self.state.commit()
        return b""

    def _role_grant(self, request: pb.AuthRoleGrantPermissionRequest) -> bytes:
        if not request.HasField("perm"):
            raise PermissionNotGivenError
        if not is_valid(request.perm):
            raise InvalidAuthManagementError
        role = self.state.role(request.name)
        for known in role.keyPermission:
            if (known.key, known.range_end) == (request.perm.key, request.perm.range_end):
                known.permType = request.perm.permType
                break
        else:
            role.keyPermission.add().CopyFrom(request.perm)
            role.keyPermission.sort(key=lambda permission: permission.key)
        self.state.put_role(role)
        self.state.commit()
        return b""

    def _role_revoke(self, request: pb.AuthRoleRevokePermissionRequest) -> bytes:
        role = self.state.role(request.role)
        for place, known in enumerate(role.keyPermission):
            if (known.key, known.range_end) == (request.key, request.range_end):
                del role.keyPermission[place]
                break
        else:
            raise PermissionNotGrantedError
        self.state.put_role(role)
        self.state.commit()
        return b""
