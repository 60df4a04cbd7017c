"""Key ranges that a user may read or write, all roles taken together.

Pure. Source: etcd v3 API, Auth (Permission); a request is allowed when the union of the ranges
covers all of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from kubraft.pb.authpb.auth_pb2 import Permission, Role

# `range_end` of a request or permission that has no upper bound.
_OPEN_END = b"\0"


class KeyRanges:
    """A union of half-open key ranges; an end of None is the end of the key space."""

    def __init__(self, ranges: Iterable[tuple[bytes, bytes | None]]) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes | None] = []
        for start, end in sorted(ranges, key=lambda pair: pair[0]):
            last = self._ends[-1] if self._ends else b""
            if self._ends and (last is None or start <= last):
                if last is not None and (end is None or end > last):
                    self._ends[-1] = end
            else:
                self._starts.append(start)
                self._ends.append(end)

    def cover(self, key: bytes, raw_end: bytes) -> bool:
        """Whether `[key, raw_end)` of a request, one key if it has no end, lies within."""
        place = bisect_right(self._starts, key) - 1
        if place < 0:
            return False
        end = self._ends[place]
        if end is None:
            return True
        if raw_end == _OPEN_END:
            return False
        return key < end and (not raw_end or raw_end <= end)


class UserPermissions:
    """What the roles of one user allow."""

    def __init__(self, roles: Iterable[Role]) -> None:
        permissions = [p for role in roles for p in role.keyPermission]
        self.read = KeyRanges(_ranges(permissions, Permission.READ))
        self.write = KeyRanges(_ranges(permissions, Permission.WRITE))


def _ranges(permissions: Iterable[Permission], kind: int) -> list[tuple[bytes, bytes | None]]:
    return [
        (permission.key, _end(permission))
        for permission in permissions
        if permission.permType in {kind, Permission.READWRITE}
    ]


def _end(permission: Permission) -> bytes | None:
    if not permission.range_end:
        return permission.key + b"\0"
    return None if permission.range_end == _OPEN_END else permission.range_end


def is_valid(permission: Permission) -> bool:
    """Whether the range of a permission is one that a request could have."""
    if not permission.key:
        return False
    end = permission.range_end
    return not end or end == _OPEN_END or permission.key < end
