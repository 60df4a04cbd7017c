"""Txn: compares, then one branch of operations, all at one revision.

Three passes, so that nothing can fail half-way: choose every branch (nested ones too) on the state
before the txn, check that all operations of the chosen branches can be done, and do them.

Source: etcd v3 API, KV.Txn; etcd, server/etcdserver/txn.
"""

from __future__ import annotations

from dataclasses import dataclass

from kubraft.pb.etcdserverpb.rpc_pb2 import RequestOp, TxnRequest
from store.mvcc import compare, delete_range, put
from store.mvcc.errors import CompactedError, FutureRevisionError
from store.mvcc.range import range_reply
from store.mvcc.store import MvccStore, Reply, Transaction
from store.mvcc.wire import field_bytes, field_varint, header


@dataclass(slots=True)
class Branch:
    """The chosen side of one txn, and of those nested in it, in their order."""

    succeeded: bool
    # Each with the name of its field of `RequestOp`, which takes a while to ask for.
    operations: list[tuple[str | None, RequestOp]]
    nested: list[Branch]


def txn(store: MvccStore, request: TxnRequest) -> Reply:
    """Apply a txn whose form was checked.

    Raises:
        MvccError: an operation of the chosen branches cannot be done; nothing was changed.
    """
    branch = _choose(store, request)
    _check(store, branch)
    transaction = Transaction(store)
    body = _execute(store, transaction, branch)
    return Reply(transaction.end(), body)


def is_read_only(request: TxnRequest) -> bool:
    """Whether both branches only range; a nested txn counts as a write, as in etcd."""
    return all(
        op.WhichOneof("request") == "request_range"
        for op in request.success[:] + request.failure[:]
    )


def is_serializable(request: TxnRequest) -> bool:
    """Of a read-only txn: whether every range allows a stale answer."""
    return all(op.request_range.serializable for op in (*request.success, *request.failure))


def _choose(store: MvccStore, request: TxnRequest) -> Branch:
    succeeded = all(compare.holds(store, c) for c in request.compare[:])
    chosen = request.success[:] if succeeded else request.failure[:]
    operations: list[tuple[str | None, RequestOp]] = [
        (op.WhichOneof("request"), op) for op in chosen
    ]
    nested = [_choose(store, op.request_txn) for kind, op in operations if kind == "request_txn"]
    return Branch(succeeded, operations, nested)


def _check(store: MvccStore, branch: Branch) -> None:
    nested = iter(branch.nested)
    for kind, op in branch.operations:
        match kind:
            case "request_range":
                _check_revision(store, op.request_range.revision)
            case "request_put":
                put.check(store, op.request_put)
            case "request_txn":
                _check(store, next(nested))
            case _:
                pass


def _check_revision(store: MvccStore, main: int) -> None:
    if main == 0:
        return
    if main > store.revision:
        raise FutureRevisionError
    if main < store.compacted:
        raise CompactedError


def _execute(store: MvccStore, transaction: Transaction, branch: Branch) -> bytes:
    parts = [field_varint(2, int(branch.succeeded))]
    nested = iter(branch.nested)
    # What most puts answer is the same for all of them: they share the new revision.
    bare_put = b""
    for kind, op in branch.operations:
        match kind:
            case "request_range":
                reply = range_reply(store, op.request_range, transaction.revision)
                response = field_bytes(1, header(transaction.revision) + reply.body)
            case "request_put":
                body = put.execute(store, transaction, op.request_put)
                if not body:
                    bare_put = bare_put or _bare_put(transaction)
                    parts.append(bare_put)
                    continue
                response = field_bytes(2, header(transaction.revision) + body)
            case "request_delete_range":
                body = delete_range.execute(store, transaction, op.request_delete_range)
                response = field_bytes(3, header(transaction.revision) + body)
            case "request_txn":
                body = _execute(store, transaction, next(nested))
                response = field_bytes(4, header(0) + body)
            case _:
                response = b""
        parts.append(field_bytes(3, response))
    return b"".join(parts)


def _bare_put(transaction: Transaction) -> bytes:
    return field_bytes(3, field_bytes(2, header(transaction.revision)))
