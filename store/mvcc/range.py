"""Range: reading keys now or in the past.

Source: etcd v3 API, KV.Range; etcd, server/etcdserver/txn (order of filters, sorting and limit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kubraft.pb.etcdserverpb.rpc_pb2 import RangeRequest
from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from store.mvcc.key_index import range_end
from store.mvcc.revision import Revision
from store.mvcc.store import MvccStore, Reply
from store.mvcc.wire import field_bytes, field_varint, varint

_KVS_TAG = varint(2 << 3 | 2)
_MORE = field_varint(3, 1)

_SORT_KEYS: dict[int, Callable[[KeyValue], Any]] = {
    RangeRequest.KEY: lambda kv: kv.key,
    RangeRequest.VERSION: lambda kv: kv.version,
    RangeRequest.CREATE: lambda kv: kv.create_revision,
    RangeRequest.MOD: lambda kv: kv.mod_revision,
    RangeRequest.VALUE: lambda kv: kv.value,
}


def range_reply(store: MvccStore, request: RangeRequest, revision: Revision | None = None) -> Reply:
    """Answer a checked request.

    `revision` is what the response shows as the store's; the store's own if None.

    Raises:
        CompactedError, FutureRevisionError: history does not reach `request.revision`.
    """
    if request.revision > 0:
        store.check_revision(request.revision)
    shown = store.revision if revision is None else revision
    end = range_end(request.range_end)
    is_past = 0 < request.revision < shown
    if request.count_only:
        count = _count(store, request.key, end, request.revision if is_past else 0)
        return Reply(shown, field_varint(4, count))
    if is_plain(request):
        return Reply(shown, _plain(store, request, end, is_past=is_past))
    return Reply(shown, _sorted(store, request, end, is_past=is_past))


def is_plain(request: RangeRequest) -> bool:
    """Whether keys come in the order and number that the index gives."""
    default_order = request.sort_order == RangeRequest.NONE or (
        request.sort_target == RangeRequest.KEY and request.sort_order == RangeRequest.ASCEND
    )
    if request.sort_target != RangeRequest.KEY:
        default_order = False
    return default_order and not (
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _count(store: MvccStore, key: bytes, end: bytes | None, past: int) -> int:
    if not past:
        return store.index.count(key, end)
    return sum(1 for _ in store.index.keys_at(key, end, past))


def _records(
    store: MvccStore, request: RangeRequest, end: bytes | None, *, is_past: bool
) -> Iterator[bytes]:
    """Encoded key-values in key order."""
    index, get = store.index, store.backend.get
    if is_past:
        for _, packed in index.keys_at(request.key, end, request.revision):
            yield get(packed)
        return
    for key in index.keys(request.key, end):
        packed_now = index.live(key)
        assert packed_now is not None
        yield get(packed_now)


def _plain(store: MvccStore, request: RangeRequest, end: bytes | None, *, is_past: bool) -> bytes:
    limit = request.limit if request.limit > 0 else None
    parts: list[bytes] = []
    more = False
    count = 0
    for count, record in enumerate(_records(store, request, end, is_past=is_past), start=1):
        if limit is not None and count > limit:
            more = True
            break
        kept = without_value(record) if request.keys_only else record
        parts += (_KVS_TAG, varint(len(kept)), kept)
    if more:
        parts.append(_MORE)
        count = _count(store, request.key, end, request.revision if is_past else 0)
    parts.append(field_varint(4, count))
    return b"".join(parts)


class RangePage(NamedTuple):
    """A slice of a range: its `kvs` fields, how many, and where the next slice begins."""

    body: bytes
    keys: int
    next_key: bytes | None


def range_page(
    store: MvccStore, key: bytes, end: bytes | None, *, at: int, keys_max: int, keys_only: bool
) -> RangePage:
    """Up to `keys_max` keys from `key` on as they were at `at`; one revision, many pages."""
    parts: list[bytes] = []
    for count, (found, packed) in enumerate(store.index.keys_at(key, end, at)):
        if count == keys_max:
            return RangePage(b"".join(parts), count, found)
        record = store.backend.get(packed)
        kept = without_value(record) if keys_only else record
        parts += (_KVS_TAG, varint(len(kept)), kept)
    return RangePage(b"".join(parts), len(parts) // 3, None)


def _sorted(store: MvccStore, request: RangeRequest, end: bytes | None, *, is_past: bool) -> bytes:
    kvs = [KeyValue.FromString(r) for r in _records(store, request, end, is_past=is_past)]
    count = len(kvs)
    kvs = [kv for kv in kvs if _passes(kv, request)]
    target, order = request.sort_target, request.sort_order
    if order != RangeRequest.NONE or target != RangeRequest.KEY:
        kvs.sort(key=_SORT_KEYS[target], reverse=order == RangeRequest.DESCEND)
    more = 0 < request.limit < len(kvs)
    if more:
        del kvs[request.limit :]
    parts: list[bytes] = []
    for kv in kvs:
        if request.keys_only:
            kv.ClearField("value")
        parts.append(field_bytes(2, kv.SerializeToString()))
    if more:
        parts.append(_MORE)
    parts.append(field_varint(4, count))
    return b"".join(parts)


def _passes(kv: KeyValue, request: RangeRequest) -> bool:
    return (
        (not request.max_mod_revision or kv.mod_revision <= request.max_mod_revision)
        and kv.mod_revision >= request.min_mod_revision
        and (not request.max_create_revision or kv.create_revision <= request.max_create_revision)
        and kv.create_revision >= request.min_create_revision
    )


def without_value(record: bytes) -> bytes:
    kv = KeyValue.FromString(record)
    kv.ClearField("value")
    return kv.SerializeToString()
