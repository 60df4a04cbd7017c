"""Compare: the guards of a txn. Source: etcd v3 API, KV.Txn; etcd, server/etcdserver/txn."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from kubraft.pb.etcdserverpb.rpc_pb2 import Compare
from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from store.mvcc.key_index import range_end
from store.mvcc.store import MvccStore

_RESULTS: dict[int, Callable[[Any, Any], bool]] = {
    Compare.EQUAL: operator.eq,
    Compare.NOT_EQUAL: operator.ne,
    Compare.GREATER: operator.gt,
    Compare.LESS: operator.lt,
}
# What is compared, and with which field of the request. A field that is not set counts as zero.
_TARGETS: dict[int, tuple[Callable[[KeyValue], Any], Callable[[Compare], Any]]] = {
    Compare.VERSION: (lambda kv: kv.version, lambda c: c.version),
    Compare.CREATE: (lambda kv: kv.create_revision, lambda c: c.create_revision),
    Compare.MOD: (lambda kv: kv.mod_revision, lambda c: c.mod_revision),
    Compare.VALUE: (lambda kv: kv.value, lambda c: c.value),
    Compare.LEASE: (lambda kv: kv.lease, lambda c: c.lease),
}
_ABSENT = KeyValue()


def holds(store: MvccStore, compare: Compare) -> bool:
    """Whether the comparison is true of every key of its range.

    A key that is not there compares as all zeros, except that no comparison of values holds.
    An unknown kind of comparison holds, as it does in etcd.
    """
    if not compare.range_end:
        found = store.find(compare.key)
        if found is not None:
            return _matches(KeyValue.FromString(found), compare)
    keys = list(store.index.keys(compare.key, range_end(compare.range_end)))
    if not keys:
        return compare.target != Compare.VALUE and _matches(_ABSENT, compare)
    for key in keys:
        record = store.find(key)
        assert record is not None
        if not _matches(KeyValue.FromString(record), compare):
            return False
    return True


def _matches(kv: KeyValue, compare: Compare) -> bool:
    result = _RESULTS.get(compare.result)
    if result is None:
        return True
    target = _TARGETS.get(compare.target)
    if target is None:
        return result(0, 0)
    have, want = target
    return result(have(kv), want(compare))
