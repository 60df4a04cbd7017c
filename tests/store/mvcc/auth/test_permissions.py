"""Ranges that roles give: against a model that tries every key."""

from hypothesis import given
from hypothesis import strategies as st

from kubraft.pb.authpb.auth_pb2 import Permission, Role
from store.mvcc.auth.permissions import UserPermissions, is_valid

KEYS = [bytes((number,)) for number in range(1, 9)]

keys = st.sampled_from(KEYS)
ends = st.one_of(st.just(b""), st.just(b"\0"), keys)
kinds = st.sampled_from([Permission.READ, Permission.WRITE, Permission.READWRITE])
permissions = st.builds(
    lambda kind, key, end: Permission(permType=kind, key=key, range_end=end), kinds, keys, ends
).filter(is_valid)


def covered(key: bytes, end: bytes) -> set[bytes]:
    """Keys of a range; the zero byte stands for all that lies behind the last key."""
    if not end:
        return {key}
    if end == b"\0":
        return {k for k in KEYS if k >= key} | {b"\0"}
    # What lies between two keys is covered only by a range; half a step stands for it.
    whole = {k for k in KEYS if key <= k < end}
    return whole | {k + b"between" for k in whole}


def with_gaps(key: bytes, end: bytes) -> set[bytes]:
    found = covered(key, end)
    if end == b"\0":
        found |= {k + b"between" for k in found if k != b"\0"}
    return found


@given(st.lists(st.lists(permissions, max_size=4), max_size=3), keys, ends)
def test_a_range_is_permitted_if_every_key_of_it_is(
    roles: list[list[Permission]], key: bytes, end: bytes
) -> None:
    if end not in {b"", b"\0"} and end <= key:
        return
    user = UserPermissions(Role(keyPermission=role) for role in roles)
    for kind, ranges in ((Permission.READ, user.read), (Permission.WRITE, user.write)):
        given_keys: set[bytes] = set()
        for role in roles:
            for permission in role:
                if permission.permType in {kind, Permission.READWRITE}:
                    given_keys |= with_gaps(permission.key, permission.range_end)
        assert ranges.cover(key, end) == (with_gaps(key, end) <= given_keys)
