"""Whether a request is well formed, before it is worth a place in the log.

The same checks in the same order as etcd's, so that the same wrong request gets the same error.
Source: etcd, server/etcdserver/api/v3rpc (key.go).
"""

from __future__ import annotations

from collections.abc import Iterable

from kubraft.pb.etcdserverpb.rpc_pb2 import (
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from store.mvcc.errors import (
    DuplicateKeyError,
    EmptyKeyError,
    InvalidSortOptionError,
    KeyNotFoundError,
    LeaseProvidedError,
    TooManyOpsError,
    ValueProvidedError,
)
from store.mvcc.key_index import ONE_KEY, range_end

# Repeated fields are sliced before a loop: that is a list, and quicker than they are themselves.

# Source: etcd, the default of --max-txn-ops.
TXN_OPS_MAX = 128

_ORDERS = frozenset(RangeRequest.SortOrder.values())
_TARGETS = frozenset(RangeRequest.SortTarget.values())


def check_range(request: RangeRequest) -> None:
    """Raises EmptyKeyError, InvalidSortOptionError."""
    if not request.key:
        raise EmptyKeyError
    if request.sort_order not in _ORDERS or request.sort_target not in _TARGETS:
        raise InvalidSortOptionError


def check_put(request: PutRequest) -> None:
    """Raises EmptyKeyError, ValueProvidedError, LeaseProvidedError."""
    if not request.key:
        raise EmptyKeyError
    if request.ignore_value and request.value:
        raise ValueProvidedError
    if request.ignore_lease and request.lease:
        raise LeaseProvidedError


def check_delete_range(request: DeleteRangeRequest) -> None:
    """Raises EmptyKeyError."""
    if not request.key:
        raise EmptyKeyError


def check_txn(request: TxnRequest, *, ops_max: int = TXN_OPS_MAX) -> None:
    """Raises TooManyOpsError, DuplicateKeyError, or what an operation's own check raises."""
    _check_operations(request, ops_max)
    _check_overlap(request.success[:])
    _check_overlap(request.failure[:])


def _check_operations(request: TxnRequest, ops_max: int) -> None:
    ops = max(len(request.compare), len(request.success), len(request.failure))
    if ops > ops_max:
        raise TooManyOpsError
    if not all(compare.key for compare in request.compare[:]):
        raise EmptyKeyError
    for operation in request.success[:] + request.failure[:]:
        _check_operation(operation, ops_max - ops)


def _check_operation(operation: RequestOp, ops_max: int) -> None:
    match operation.WhichOneof("request"):
        case "request_range":
            check_range(operation.request_range)
        case "request_put":
            check_put(operation.request_put)
        case "request_delete_range":
            check_delete_range(operation.request_delete_range)
        case "request_txn":
            _check_operations(operation.request_txn, ops_max)
        case _:
            raise KeyNotFoundError


class Writes:
    """Keys put and ranges deleted by operations that may run in one txn."""

    def __init__(self) -> None:
        self.puts: dict[bytes, None] = {}
        self.deletes: list[tuple[bytes, bytes | None]] = []

    def deletes_key(self, key: bytes) -> bool:
        return any(_covers(start, end, key) for start, end in self.deletes)

    def add_put(self, key: bytes) -> None:
        """Raises DuplicateKeyError: the key is written twice."""
        if key in self.puts or (self.deletes and self.deletes_key(key)):
            raise DuplicateKeyError
        self.puts[key] = None


def _covers(start: bytes, end: bytes | None, key: bytes) -> bool:
    if end is ONE_KEY:
        return key == start
    return start <= key and (not end or key < end)


def _check_overlap(operations: Iterable[RequestOp]) -> Writes:
    """Refuse a key that could be put twice, or put and deleted, in one txn."""
    named = [(operation.WhichOneof("request"), operation) for operation in operations]
    writes = Writes()
    for kind, operation in named:
        if kind == "request_delete_range":
            request = operation.request_delete_range
            # Not the range from a key to the end: etcd lets a put stand beside that one.
            if request.range_end != b"\0":
                writes.deletes.append((request.key, range_end(request.range_end)))
    for kind, operation in named:
        if kind == "request_txn":
            _merge_branches(
                writes,
                _check_overlap(operation.request_txn.success),
                _check_overlap(operation.request_txn.failure),
            )
    for kind, operation in named:
        if kind == "request_put":
            writes.add_put(operation.request_put.key)
    return writes


def _merge_branches(writes: Writes, success: Writes, failure: Writes) -> None:
    """Only one branch runs, so the same key may be put in both."""
    for key in success.puts:
        writes.add_put(key)
    for key in failure.puts:
        if key not in success.puts:
            writes.add_put(key)
        elif writes.deletes_key(key):
            raise DuplicateKeyError
    writes.deletes += success.deletes
    writes.deletes += failure.deletes
