"""Users, roles and whether they count: replicated, kept in the backend, held in memory.

Passwords come hashed, and checking one is the business of whoever takes the request, so that
applying a command never hashes. Source: etcd v3 API, Auth; etcd, server/auth.
"""

from __future__ import annotations

import hashlib

from kubraft.pb.authpb.auth_pb2 import Role, User
from store.mvcc.auth.errors import (
    AuthOldRevisionError,
    PermissionDeniedError,
    RoleNotFoundError,
    UserEmptyError,
    UserNotFoundError,
)
from store.mvcc.auth.permissions import KeyRanges, UserPermissions
from store.mvcc.backend import Backend
from store.mvcc.command import Identity

# Both the user and the role that may do everything.
ROOT = "root"

_META_ENABLED = b"auth/enabled"
_META_REVISION = b"auth/revision"
_META_USER = b"auth/user/"
_META_ROLE = b"auth/role/"
_REVISION_FIRST = 1


class AuthState:
    """Everything that a member knows of users and roles."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._permissions: dict[str, UserPermissions] = {}
        self.load()

    def load(self) -> None:
        """Take what the backend has flushed."""
        backend = self._backend
        self.enabled = backend.meta(_META_ENABLED) is not None
        self.revision = int(backend.meta(_META_REVISION) or _REVISION_FIRST)
        users = (User.FromString(value) for _, value in backend.all_meta(_META_USER))
        self.users = {user.name.decode(): user for user in users}
        roles = (Role.FromString(value) for _, value in backend.all_meta(_META_ROLE))
        self.roles = {role.name.decode(): role for role in roles}
        self._permissions.clear()

    # Changing.

    def set_enabled(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self._backend.set_meta(_META_ENABLED, b"1" if enabled else None)

    def put_user(self, user: User) -> None:
        self.users[user.name.decode()] = user
        self._backend.set_meta(_META_USER + _digest(user.name), _stable(user))

    def delete_user(self, name: str) -> None:
        del self.users[name]
        self._backend.set_meta(_META_USER + _digest(name.encode()), None)

    def put_role(self, role: Role) -> None:
        self.roles[role.name.decode()] = role
        self._backend.set_meta(_META_ROLE + _digest(role.name), _stable(role))

    def delete_role(self, name: str) -> None:
        del self.roles[name]
        self._backend.set_meta(_META_ROLE + _digest(name.encode()), None)

    def set_revision(self, revision: int) -> None:
        """Go on from where another state was."""
        self.revision = revision
        self._backend.set_meta(_META_REVISION, b"%d" % revision)

    def commit(self) -> None:
        """Count a change: what was permitted before must be asked for again."""
        self.revision += 1
        self._permissions.clear()
        self._backend.set_meta(_META_REVISION, b"%d" % self.revision)

    # Asking.

    def user(self, name: str) -> User:
        """Raises UserNotFoundError."""
        user = self.users.get(name)
        if user is None:
            raise UserNotFoundError
        return user

    def role(self, name: str) -> Role:
        """Raises RoleNotFoundError."""
        role = self.roles.get(name)
        if role is None:
            raise RoleNotFoundError
        return role

    def check_admin(self, who: Identity) -> None:
        """Raises UserEmptyError, PermissionDeniedError."""
        if not self.enabled:
            return
        if not who.user:
            raise UserEmptyError
        user = self.users.get(who.user)
        if user is None or ROOT not in user.roles:
            raise PermissionDeniedError

    def is_admin(self, who: Identity) -> bool:
        user = self.users.get(who.user)
        return not self.enabled or (user is not None and ROOT in user.roles)

    def check_read(self, who: Identity, key: bytes, end: bytes = b"") -> None:
        """Raises UserEmptyError, AuthOldRevisionError, PermissionDeniedError."""
        permissions = self._permissions_of(who)
        if permissions is not None:
            _check(permissions.read, key, end)

    def check_write(self, who: Identity, key: bytes, end: bytes = b"") -> None:
        """Raises UserEmptyError, AuthOldRevisionError, PermissionDeniedError."""
        permissions = self._permissions_of(who)
        if permissions is not None:
            _check(permissions.write, key, end)

    def _permissions_of(self, who: Identity) -> UserPermissions | None:
        """None for whoever may do everything."""
        if not self.enabled:
            return None
        if who.auth_revision == 0:
            raise UserEmptyError
        if who.auth_revision < self.revision:
            raise AuthOldRevisionError
        user = self.users.get(who.user)
        if user is None:
            raise PermissionDeniedError
        if ROOT in user.roles:
            return None
        permissions = self._permissions.get(who.user)
        if permissions is None:
            roles = (self.roles[name] for name in user.roles if name in self.roles)
            permissions = self._permissions[who.user] = UserPermissions(roles)
        return permissions


def _check(ranges: KeyRanges, key: bytes, end: bytes) -> None:
    if not ranges.cover(key, end):
        raise PermissionDeniedError


def _digest(name: bytes) -> bytes:
    """A name may be longer than a key of the backend."""
    return hashlib.sha256(name).digest()


def _stable(message: User | Role) -> bytes:
    return message.SerializeToString(deterministic=True)
