"""KV.Txn: through the log if it may write, else a read like Range."""

from __future__ import annotations

from kubraft.pb.etcdserverpb.rpc_pb2 import TxnRequest
from store.mvcc import txn as core
from store.mvcc.alarms import may_grow
from store.mvcc.auth.check import CommandCheck
from store.mvcc.command import Kind
from store.mvcc.validity import check_txn
from store.rpc.service import MemberServices, parse


async def txn(services: MemberServices, data: bytes) -> bytes:
    request = parse(TxnRequest, data)
    check_txn(request, ops_max=services.options.txn_ops_max)
    if core.is_read_only(request):
        if not core.is_serializable(request):
            await services.make_linearizable()
        if services.machine.auth.enabled:
            who = services.callers.identity()
            CommandCheck(services.machine.auth, services.store.lessor, who).txn(request)
        return services.response(core.txn(services.store, request))
    if may_grow(request):
        await services.check_space()
    return services.response(await services.propose(Kind.TXN, data))
