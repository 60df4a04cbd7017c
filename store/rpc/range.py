"""KV.Range: linearizable by a read index, or local when the request says serializable."""

from __future__ import annotations

import asyncio

from kubraft.pb.etcdserverpb.rpc_pb2 import RangeRequest
from store.figures import FIGURES
from store.mvcc.key_index import range_end
from store.mvcc.range import is_plain, range_page, range_reply
from store.mvcc.store import Reply
from store.mvcc.validity import check_range
from store.mvcc.wire import field_varint
from store.rpc.service import MemberServices, parse

# A larger range is read in pages at one revision, and the event loop runs in between.
PAGE_KEYS = 2000


async def range_(services: MemberServices, data: bytes) -> bytes:
    request = parse(RangeRequest, data)
    check_range(request)
    if not request.serializable:
        await services.make_linearizable()
    services.callers.check_read(request.key, request.range_end)
    auth_revision = services.machine.auth.revision
    reply = await read(services, request)
    if auth_revision != services.machine.auth.revision:
        # It may have been taken away while a long range was read.
        services.callers.check_read(request.key, request.range_end)
    return services.response(reply)


async def read(services: MemberServices, request: RangeRequest) -> Reply:
    """Read locally; a long range in pages of one revision.

    Raises:
        CompactedError, FutureRevisionError: history does not reach the revision asked for.
    """
    store = services.store
    if not request.range_end:
        return range_reply(store, request)
    end = range_end(request.range_end)
    wanted = store.index.count(request.key, end)
    if 0 < request.limit < wanted:
        wanted = request.limit
    if wanted <= PAGE_KEYS or request.count_only or not is_plain(request):
        return range_reply(store, request)
    if request.revision > 0:
        store.check_revision(request.revision)
    shown = store.revision
    at = request.revision if request.revision > 0 else shown
    total = store.index.count(request.key, end) if at == shown else None
    FIGURES.ranges += 1
    parts: list[bytes] = []
    key, returned = request.key, 0
    while True:
        store.check_revision(at)
        keys_max = min(PAGE_KEYS, request.limit - returned) if request.limit > 0 else PAGE_KEYS
        page = range_page(
            store,
            key,
            end,
            at=None if at == store.revision else at,
            keys_max=keys_max,
            keys_only=request.keys_only,
        )
        parts.append(page.body)
        returned += page.keys
        if page.next_key is None or returned == request.limit:
            break
        key = page.next_key
        await asyncio.sleep(0)
    more = page.next_key is not None
    if more and total is None:
        total = sum(1 for _ in store.index.keys_at(request.key, end, at))
    parts.append(field_varint(3, int(more)))
    parts.append(field_varint(4, total if more and total is not None else returned))
    return Reply(shown, b"".join(parts))
