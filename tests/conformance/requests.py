"""Requests as hypothesis makes them: small key spaces, every option, and the odd wrong value.

Revisions in them are relative: a positive one counts from the revision that a run begins at, so
that a sequence means the same wherever it starts; `at` makes it absolute.
"""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import Message
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kubraft.pb.authpb.auth_pb2 import Permission, UserAddOptions
from kubraft.pb.etcdserverpb import rpc_pb2 as pb

M = TypeVar("M", bound=Message)

_REVISION_FIELDS = frozenset(
    {
        "revision",
        "min_mod_revision",
        "max_mod_revision",
        "min_create_revision",
        "max_create_revision",
        "create_revision",
        "mod_revision",
        "start_revision",
    }
)

KEYS = (b"a", b"b", b"ba", b"c", b"\xff", b"\xff\xff", b"\0", b"a\0")
keys = st.sampled_from(KEYS)
odd_keys = st.one_of(keys, keys, keys, keys, keys, st.just(b""))
ends = st.one_of(
    st.just(b""), st.just(b""), st.just(b"\0"), keys, st.sampled_from((b"bb", b"d", b"\xff\0"))
)
values = st.sampled_from((b"", b"", b"1", b"2", b"3", b"\0\xff"))
leases = st.sampled_from((0, 0, 0, 1, 2, 3, 9))
revisions = st.one_of(st.just(0), st.just(0), st.integers(-1, 12), st.just(2**62))
bounds = st.one_of(st.just(0), st.just(0), st.just(0), st.integers(-1, 10))
limits = st.one_of(st.just(0), st.integers(-2, 4), st.just(2**63 - 1))
flags = st.booleans()


def at(message: M, base: int) -> M:
    """The same message with its revisions counted from `base`."""
    found = type(message)()
    found.CopyFrom(message)
    _move(found, base)
    return found


def _move(message: Any, base: int) -> None:
    for field, value in message.ListFields():
        if field.name in _REVISION_FIELDS and 0 < value < 2**61:
            setattr(message, field.name, value - 1 + base)
        elif field.message_type is not None:
            for part in value if field.is_repeated else (value,):
                _move(part, base)


def _build(kind: type[M], **fields: SearchStrategy[Any]) -> SearchStrategy[M]:
    return st.builds(kind, **fields)


ranges = _build(
    pb.RangeRequest,
    key=odd_keys,
    range_end=ends,
    limit=limits,
    revision=revisions,
    sort_order=st.sampled_from((0, 0, 1, 2)),
    sort_target=st.sampled_from((0, 0, 1, 2, 3, 4)),
    serializable=flags,
    keys_only=flags,
    count_only=st.sampled_from((False, False, False, True)),
    min_mod_revision=bounds,
    max_mod_revision=bounds,
    min_create_revision=bounds,
    max_create_revision=bounds,
)
puts = _build(
    pb.PutRequest,
    key=odd_keys,
    value=values,
    lease=leases,
    prev_kv=flags,
    ignore_value=st.sampled_from((False, False, False, True)),
    ignore_lease=st.sampled_from((False, False, False, True)),
)
delete_ranges = _build(pb.DeleteRangeRequest, key=odd_keys, range_end=ends, prev_kv=flags)


@st.composite
def compares(draw: st.DrawFn) -> pb.Compare:
    kinds: Any = {
        "result": draw(st.sampled_from((0, 1, 2, 3, 3, 8))),
        "target": draw(st.sampled_from((0, 1, 2, 3, 4, 6))),
    }
    compare = pb.Compare(key=draw(odd_keys), range_end=draw(st.one_of(st.just(b""), ends)), **kinds)
    match draw(st.integers(0, 5)):
        case 0:
            compare.version = draw(st.integers(-1, 3))
        case 1:
            compare.create_revision = draw(st.integers(-1, 8))
        case 2:
            compare.mod_revision = draw(st.integers(-1, 8))
        case 3:
            compare.value = draw(values)
        case 4:
            compare.lease = draw(leases)
        case _:
            pass
    return compare


def _operation(nested: SearchStrategy[pb.TxnRequest]) -> SearchStrategy[pb.RequestOp]:
    return st.one_of(
        _build(pb.RequestOp, request_range=ranges),
        _build(pb.RequestOp, request_put=puts),
        _build(pb.RequestOp, request_put=puts),
        _build(pb.RequestOp, request_delete_range=delete_ranges),
        _build(pb.RequestOp, request_txn=nested),
        st.just(pb.RequestOp()),
    )


def _txn(operations: SearchStrategy[pb.RequestOp]) -> SearchStrategy[pb.TxnRequest]:
    return _build(
        pb.TxnRequest,
        compare=st.lists(compares(), max_size=2),
        success=st.lists(operations, max_size=3),
        failure=st.lists(operations, max_size=2),
    )


txns = _txn(_operation(_txn(_operation(st.just(pb.TxnRequest())))))

lease_grants = _build(
    pb.LeaseGrantRequest,
    ID=st.sampled_from((1, 2, 3, -5)),
    TTL=st.sampled_from((1000, 1000, 1000, 5000, 9_000_000_000, 9_000_000_001)),
)
lease_ids = st.sampled_from((0, 1, 2, 3, 9, -5))
compactions = _build(pb.CompactionRequest, revision=st.integers(-1, 9), physical=flags)

# (verb, request); verbs as `tests.conformance.script` names them.
Step = tuple[str, Message]


def _verb(name: str, requests: SearchStrategy[M]) -> SearchStrategy[Step]:
    return requests.map(lambda request: (name, request))


kv_steps = st.one_of(
    _verb("Put", puts),
    _verb("Put", puts),
    _verb("Put", puts),
    _verb("Range", ranges),
    _verb("Range", ranges),
    _verb("Range", ranges),
    _verb("DeleteRange", delete_ranges),
    _verb("Txn", txns),
    _verb("Txn", txns),
    _verb("Txn", txns),
    _verb("Compact", compactions),
    _verb("LeaseGrant", lease_grants),
    _verb("LeaseGrant", lease_grants),
    _verb("LeaseRevoke", _build(pb.LeaseRevokeRequest, ID=lease_ids)),
    _verb("LeaseTimeToLive", _build(pb.LeaseTimeToLiveRequest, ID=lease_ids, keys=flags)),
    _verb("LeaseLeases", st.just(pb.LeaseLeasesRequest())),
)

watches = st.one_of(
    *2
    * [
        _build(
            pb.WatchRequest,
            create_request=_build(
                pb.WatchCreateRequest,
                key=odd_keys,
                range_end=ends,
                start_revision=st.one_of(st.just(0), st.integers(0, 8), st.just(2**62)),
                filters=st.lists(st.sampled_from((0, 1)), max_size=2),
                prev_kv=flags,
                fragment=flags,
                progress_notify=flags,
                watch_id=st.sampled_from((0, 0, 0, 1, 2, 5, -3)),
            ),
        )
    ],
    _build(
        pb.WatchRequest,
        cancel_request=_build(
            pb.WatchCancelRequest, watch_id=st.sampled_from((0, 1, 2, 3, 5, -3, 77))
        ),
    ),
    st.just(pb.WatchRequest()),
)
watch_steps = _verb("Watch", watches)

users = st.sampled_from(("root", "root", "ann", "bob", ""))
roles = st.sampled_from(("root", "reader", "writer", ""))
PASSWORDS = ("pass", "other", "")
passwords = st.sampled_from(("pass", "pass", *PASSWORDS))
log_ins = _verb("Authenticate", _build(pb.AuthenticateRequest, name=users, password=passwords))
permissions = _build(
    Permission,
    permType=st.sampled_from((0, 1, 2, 2, 5)),
    key=keys,
    range_end=st.sampled_from((b"", b"", b"\0", b"\xff\xff\xff")),
)

auth_steps = st.one_of(
    _verb("UserAdd", _build(pb.AuthUserAddRequest, name=users, password=passwords)),
    _verb(
        "UserAdd",
        _build(
            pb.AuthUserAddRequest,
            # Not root: a root without a password would lock everybody out.
            name=st.sampled_from(("ann", "bob", "")),
            password=passwords,
            options=_build(UserAddOptions, no_password=flags),
        ),
    ),
    _verb("UserGet", _build(pb.AuthUserGetRequest, name=users)),
    _verb("UserList", st.just(pb.AuthUserListRequest())),
    _verb("UserDelete", _build(pb.AuthUserDeleteRequest, name=users)),
    _verb(
        "UserChangePassword",
        _build(pb.AuthUserChangePasswordRequest, name=users, password=passwords),
    ),
    _verb("UserGrantRole", _build(pb.AuthUserGrantRoleRequest, user=users, role=roles)),
    _verb("UserGrantRole", _build(pb.AuthUserGrantRoleRequest, user=users, role=roles)),
    _verb("UserRevokeRole", _build(pb.AuthUserRevokeRoleRequest, name=users, role=roles)),
    _verb("RoleAdd", _build(pb.AuthRoleAddRequest, name=roles)),
    _verb("RoleGet", _build(pb.AuthRoleGetRequest, role=roles)),
    _verb("RoleList", st.just(pb.AuthRoleListRequest())),
    _verb("RoleDelete", _build(pb.AuthRoleDeleteRequest, role=roles)),
    _verb(
        "RoleGrantPermission",
        _build(
            pb.AuthRoleGrantPermissionRequest, name=roles, perm=st.one_of(permissions, st.none())
        ),
    ),
    _verb(
        "RoleRevokePermission",
        _build(pb.AuthRoleRevokePermissionRequest, role=roles, key=odd_keys, range_end=ends),
    ),
    _verb("AuthStatus", st.just(pb.AuthStatusRequest())),
    _verb("AuthEnable", st.just(pb.AuthEnableRequest())),
    _verb("AuthDisable", st.just(pb.AuthDisableRequest())),
)
