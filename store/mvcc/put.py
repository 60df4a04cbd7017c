"""Put: writing one key. Source: etcd v3 API, KV.Put."""

from __future__ import annotations

from kubraft.pb.etcdserverpb.rpc_pb2 import PutRequest
from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from store.mvcc.errors import KeyNotFoundError
from store.mvcc.store import MvccStore, Reply, Transaction
from store.mvcc.wire import field_bytes


def check(store: MvccStore, request: PutRequest) -> None:
    """Whether the put can be done in the present state.

    Raises:
        LeaseNotFoundError: no such lease.
        KeyNotFoundError: `ignore_value` or `ignore_lease` without a value before.
    """
    if request.lease:
        store.lessor.get(request.lease)
    if (request.ignore_value or request.ignore_lease) and store.index.live(request.key) is None:
        raise KeyNotFoundError


def execute(store: MvccStore, txn: Transaction, request: PutRequest) -> bytes:
    """Do a checked put; returns the response body."""
    value, lease, body = request.value, request.lease, b""
    if request.ignore_value or request.ignore_lease or request.prev_kv:
        before = store.find(request.key)
        if before is not None:
            previous = KeyValue.FromString(before)
            value = previous.value if request.ignore_value else value
            lease = previous.lease if request.ignore_lease else lease
            body = field_bytes(2, before) if request.prev_kv else b""
    txn.put(request.key, value, lease)
    return body


def put(store: MvccStore, request: PutRequest) -> Reply:
    check(store, request)
    txn = Transaction(store)
    body = execute(store, txn, request)
    return Reply(txn.end(), body)
