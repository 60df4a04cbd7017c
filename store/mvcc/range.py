"""Range: reading keys now or in the past.

Source: etcd v3 API, KV.Range; etcd, server/etcdserver/txn (order of filters, sorting and limit).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from kubraft.pb.etcdserverpb.rpc_pb2 import RangeRequest
from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from store.figures import FIGURES
from store.mvcc.key_index import ONE_KEY, range_end
from store.mvcc.revision import Revision
from store.mvcc.store import MvccStore, Reply
from store.mvcc.wire import field_bytes, field_varint, varint

_KVS_TAG = varint(2 << 3 | 2)
_MORE = field_varint(3, 1)
_COUNT_ONE = field_varint(4, 1)

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
    FIGURES.ranges += 1
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
    if end is ONE_KEY and not is_past:
        found = store.find(request.key)
        return (
            b"" if found is None else _encoded((found,), keys_only=request.keys_only) + _COUNT_ONE
        )
    page = range_page(
        store,
        request.key,
        end,
        at=request.revision if is_past else None,
        keys_max=request.limit if request.limit > 0 else sys.maxsize - 1,
        keys_only=request.keys_only,
    )
    if page.next_key is None:
        return page.body + field_varint(4, page.keys)
    count = _count(store, request.key, end, request.revision if is_past else 0)
    return page.body + _MORE + field_varint(4, count)


class RangePage(NamedTuple):
    """A slice of a range: its `kvs` fields, how many, and where the next slice begins."""

    body: bytes
    keys: int
    next_key: bytes | None


def range_page(
    store: MvccStore,
    key: bytes,
    end: bytes | None,
    *,
    at: int | None,
    keys_max: int,
    keys_only: bool,
) -> RangePage:
    """Up to `keys_max` keys from `key` on as they were at `at`, or as they are now."""
    index = store.index
    if at is None:
        keys = list(islice(index.keys(key, end), keys_max + 1))
        packed = index.live_of(keys[:keys_max])
    else:
        pairs = list(islice(index.keys_at(key, end, at), keys_max + 1))
        keys = [found for found, _ in pairs]
        packed = [one for _, one in pairs[:keys_max]]
    body = _encoded(store.backend.get_many(packed), keys_only=keys_only)
    return RangePage(body, len(packed), keys[keys_max] if len(keys) > keys_max else None)


def _encoded(records: Sequence[bytes], *, keys_only: bool) -> bytes:
    """The `kvs` fields of a response."""
    parts: list[bytes] = []
    for record in records:
        kept = without_value(record) if keys_only else record
        size = len(kept)
        parts += (_KVS_HEADS[size] if size < _KVS_HEADS_MAX else _kvs_head(size), kept)
    return b"".join(parts)


def _kvs_head(size: int) -> bytes:
    return _KVS_TAG + varint(size)


# What precedes a key-value, by its size: lists are long, and their values alike.
_KVS_HEADS_MAX = 4096
_KVS_HEADS = [_kvs_head(size) for size in range(_KVS_HEADS_MAX)]


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
