"""Whether whoever proposed a command may have it. Source: etcd, server/etcdserver/apply (auth.go).

Checked when the command is applied, against the users and roles of that moment, so that every
member decides alike and nothing slips through while permissions change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubraft.pb.etcdserverpb.rpc_pb2 import (
    DeleteRangeRequest,
    PutRequest,
    RequestOp,
    TxnRequest,
)
from store.mvcc.auth.state import AuthState
from store.mvcc.command import Identity, Kind
from store.mvcc.lessor import Lessor

_ADMIN = frozenset(
    {
        Kind.AUTH_ENABLE,
        Kind.AUTH_DISABLE,
        Kind.USER_ADD,
        Kind.USER_DELETE,
        Kind.USER_CHANGE_PASSWORD,
        Kind.USER_GRANT_ROLE,
        Kind.USER_REVOKE_ROLE,
        Kind.ROLE_ADD,
        Kind.ROLE_DELETE,
        Kind.ROLE_GRANT_PERMISSION,
        Kind.ROLE_REVOKE_PERMISSION,
    }
)


class CommandCheck:
    """Checks on behalf of one caller; every method raises what `AuthState.check_write` does."""

    def __init__(self, state: AuthState, lessor: Lessor, who: Identity) -> None:
        self._state = state
        self._lessor = lessor
        self._who = who

    def command(self, kind: Kind, request: Any) -> None:
        if kind in _ADMIN:
            self._state.check_admin(self._who)
        elif kind is Kind.PUT:
            self.put(request)
        elif kind is Kind.DELETE_RANGE:
            self.delete_range(request)
        elif kind is Kind.TXN:
            self.txn(request)
        elif kind is Kind.LEASE_REVOKE:
            self.lease(request.ID)

    def put(self, request: PutRequest) -> None:
        self._state.check_write(self._who, request.key)
        # Else a key of somebody else could be deleted by letting its lease end.
        self.lease(request.lease)
        if request.prev_kv:
            self._state.check_read(self._who, request.key)

    def delete_range(self, request: DeleteRangeRequest) -> None:
        self._state.check_write(self._who, request.key, request.range_end)
        if request.prev_kv:
            self._state.check_read(self._who, request.key, request.range_end)

    def txn(self, request: TxnRequest) -> None:
        """Both branches, whichever will be taken."""
        for compare in request.compare:
            self._state.check_read(self._who, compare.key, compare.range_end)
        self._operations(request.success)
        self._operations(request.failure)

    def _operations(self, operations: Iterable[RequestOp]) -> None:
        for operation in operations:
            match operation.WhichOneof("request"):
                case "request_range":
                    ranged = operation.request_range
                    self._state.check_read(self._who, ranged.key, ranged.range_end)
                case "request_put":
                    self.put(operation.request_put)
                case "request_delete_range":
                    self.delete_range(operation.request_delete_range)
                case "request_txn":
                    self.txn(operation.request_txn)
                case _:
                    pass

    def lease(self, lease_id: int) -> None:
        """Whether all keys of the lease are the caller's to delete."""
        lease = self._lessor.find(lease_id)
        if lease is None or self._state.is_admin(self._who):
            return
        for key in sorted(lease.keys):
            self._state.check_write(self._who, key)
