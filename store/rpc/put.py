"""KV.Put."""

from __future__ import annotations

from kubraft.pb.etcdserverpb.rpc_pb2 import PutRequest
from store.mvcc.command import Kind
from store.mvcc.validity import check_put
from store.rpc.service import MemberServices, parse


async def put(services: MemberServices, data: bytes) -> bytes:
    check_put(parse(PutRequest, data))
    await services.check_space()
    return services.response(await services.propose(Kind.PUT, data))
