"""KV.DeleteRange."""

from __future__ import annotations

from kubraft.pb.etcdserverpb.rpc_pb2 import DeleteRangeRequest
from store.mvcc.command import Kind
from store.mvcc.validity import check_delete_range
from store.rpc.service import MemberServices, parse


async def delete_range(services: MemberServices, data: bytes) -> bytes:
    check_delete_range(parse(DeleteRangeRequest, data))
    return services.response(await services.propose(Kind.DELETE_RANGE, data))
