"""KV.Compact; `physical` answers only when this member has cleared up."""

from __future__ import annotations

import asyncio

from kubraft.pb.etcdserverpb.rpc_pb2 import CompactionRequest
from store.mvcc import compaction
from store.mvcc.command import Kind
from store.rpc.service import MemberServices, parse


async def compact(services: MemberServices, data: bytes) -> bytes:
    request = parse(CompactionRequest, data)
    services.callers.check_admin()
    reply = await services.propose(Kind.COMPACT, data)
    more = request.physical
    while more:
        more = compaction.step(services.store)
        await asyncio.sleep(0)
    return services.response(reply)
