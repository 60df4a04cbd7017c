"""DeleteRange: ending the lives of keys. Source: etcd v3 API, KV.DeleteRange."""

from __future__ import annotations

from kubraft.pb.etcdserverpb.rpc_pb2 import DeleteRangeRequest
from store.mvcc.key_index import range_end
from store.mvcc.store import MvccStore, Reply, Transaction
from store.mvcc.wire import field_bytes, field_varint


def execute(store: MvccStore, txn: Transaction, request: DeleteRangeRequest) -> bytes:
    """Delete the keys of the range; returns the response body."""
    keys = list(store.index.keys(request.key, range_end(request.range_end)))
    previous: list[bytes] = []
    if request.prev_kv:
        records = store.backend.get_many(store.index.live_of(keys))
        previous = [field_bytes(3, record) for record in records]
    txn.delete(keys)
    return field_varint(2, len(keys)) + b"".join(previous)


def delete_range(store: MvccStore, request: DeleteRangeRequest) -> Reply:
    txn = Transaction(store)
    body = execute(store, txn, request)
    return Reply(txn.end(), body)
