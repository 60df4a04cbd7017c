"""The v3lock service: locks that live on the server. Source: etcd v3 API, v3lock."""

from __future__ import annotations

import asyncio

import grpc

from kubraft.pb.etcdserverpb.rpc_pb2 import TxnResponse
from kubraft.pb.v3lockpb.v3lock_pb2 import LockRequest, UnlockRequest
from store.mvcc.errors import EmptyKeyError
from store.mvcc.wire import field_bytes
from store.raft.engine import EngineError
from store.rpc import queue_of_keys as line
from store.rpc.errors import RefusedError
from store.rpc.service import MemberServices, parse

_SESSION_EXPIRED = "mutex: session is expired"


@line.as_client
async def lock(services: MemberServices, data: bytes) -> bytes:
    """Wait for the lock; a caller who gives up leaves the line.

    Who is told that it has the lock had it at some time during the call, whatever this member
    heard meanwhile. Source: etcd, client/v3/concurrency (Mutex.Lock).

    Raises:
        RefusedError: the key is gone, as its lease ended or somebody deleted it.
    """
    request = parse(LockRequest, data)
    lease_id = await line.session(services, request.lease)
    key, prefix = line.key_of(request.name, lease_id), line.prefix_of(request.name)
    await line.check_readable(services, prefix)
    reply = await line.enter(services, key, b"", lease_id)
    outcome = TxnResponse.FromString(reply.body)
    if outcome.succeeded:
        created = int(reply.revision)
    else:
        created = outcome.responses[0].response_range.kvs[0].create_revision
    try:
        if await line.wait_for_turn(services, prefix, created):
            # While it waited, the lease may have ended where this member cannot see it yet.
            await services.make_linearizable()
    except (asyncio.CancelledError, EngineError):
        await line.give_up(services, key)
        raise
    held = line.find(services, key)
    if held is None or held.create_revision != created:
        raise RefusedError(grpc.StatusCode.UNKNOWN, _SESSION_EXPIRED)
    return services.header(services.store.revision) + field_bytes(2, key)


@line.as_client
async def unlock(services: MemberServices, data: bytes) -> bytes:
    request = parse(UnlockRequest, data)
    if not request.key:
        raise EmptyKeyError
    reply = await line.leave(services, request.key)
    return services.header(reply.revision)
