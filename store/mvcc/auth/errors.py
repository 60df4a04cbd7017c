"""Refusals of authentication and permission. Source: etcd, api/v3rpc/rpctypes."""

from __future__ import annotations

from store.mvcc.errors import MvccError


class RootUserNotExistError(MvccError):
    message = "etcdserver: root user does not exist"


class RootRoleNotExistError(MvccError):
    message = "etcdserver: root user does not have root role"


class UserExistsError(MvccError):
    message = "etcdserver: user name already exists"


class UserEmptyError(MvccError):
    message = "etcdserver: user name is empty"


class UserNotFoundError(MvccError):
    message = "etcdserver: user name not found"


class RoleExistsError(MvccError):
    message = "etcdserver: role name already exists"


class RoleNotFoundError(MvccError):
    message = "etcdserver: role name not found"


class RoleEmptyError(MvccError):
    message = "etcdserver: role name is empty"


class AuthFailedError(MvccError):
    message = "etcdserver: authentication failed, invalid user ID or password"


class NoPasswordUserError(MvccError):
    message = "auth: authentication failed, password was given for no password user"


class PermissionNotGivenError(MvccError):
    message = "etcdserver: permission not given"


class PermissionDeniedError(MvccError):
    message = "etcdserver: permission denied"


class RoleNotGrantedError(MvccError):
    message = "etcdserver: role is not granted to the user"


class PermissionNotGrantedError(MvccError):
    message = "etcdserver: permission is not granted to the role"


class AuthNotEnabledError(MvccError):
    message = "etcdserver: authentication is not enabled"


class InvalidAuthTokenError(MvccError):
    message = "etcdserver: invalid auth token"


class InvalidAuthManagementError(MvccError):
    message = "etcdserver: invalid auth management"


class AuthOldRevisionError(MvccError):
    message = "etcdserver: revision of auth store is old"
