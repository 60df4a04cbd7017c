"""The Lease service. Source: etcd v3 API, Lease.

A keep-alive goes through the log like every write, so any member serves it, and an answer means
that a quorum knows of it.
"""

from __future__ import annotations

import asyncio
import random

import grpc
from google.protobuf.message import DecodeError

from kubraft.pb.etcdserverpb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseStatus,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
)
from store.mvcc.command import NOBODY, Kind
from store.mvcc.errors import LeaseNotFoundError, MvccError
from store.mvcc.lessor import Lease
from store.mvcc.wire import field_varint
from store.raft.engine import EngineError
from store.rpc.caller import Context
from store.rpc.errors import RefusedError
from store.rpc.service import END_OF_REQUESTS, MemberServices, parse

_LEASE_ID_BITS = 63


async def grant(services: MemberServices, data: bytes) -> bytes:
    """The proposer fills in what must be equal on all members: the id and the least TTL."""
    request = parse(LeaseGrantRequest, data)
    services.callers.check_known()
    while request.ID == 0:
        request.ID = random.SystemRandom().getrandbits(_LEASE_ID_BITS)
    request.TTL = max(request.TTL, services.options.lease_ttl_s_min)
    await services.check_space()
    reply = await services.propose(Kind.LEASE_GRANT, request.SerializeToString())
    return services.response(reply)


async def revoke(services: MemberServices, data: bytes) -> bytes:
    parse(LeaseRevokeRequest, data)
    services.callers.check_known()
    return services.response(await services.propose(Kind.LEASE_REVOKE, data))


async def time_to_live(services: MemberServices, data: bytes) -> bytes:
    request = parse(LeaseTimeToLiveRequest, data)
    await services.make_linearizable()
    store = services.store
    lease = store.lessor.find(request.ID)
    services.callers.check_known()
    if request.keys and lease is not None:
        _check_keys(services, lease)
    if lease is None:
        response = LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
    else:
        now = asyncio.get_running_loop().time()
        left = services.expiry.remaining_s(lease.id, now=now)
        response = LeaseTimeToLiveResponse(
            ID=request.ID,
            TTL=max(0, int(left)),
            grantedTTL=lease.ttl_s,
            keys=sorted(lease.keys) if request.keys else (),
        )
    return services.header(store.revision) + response.SerializeToString()


async def leases(services: MemberServices, data: bytes) -> bytes:
    parse(LeaseLeasesRequest, data)
    await services.make_linearizable()
    store = services.store
    services.callers.check_known()
    for lease_id in store.lessor.ids():
        _check_keys(services, store.lessor.get(lease_id))
    response = LeaseLeasesResponse(leases=[LeaseStatus(ID=lease) for lease in store.lessor.ids()])
    return services.header(store.revision) + response.SerializeToString()


def _check_keys(services: MemberServices, lease: Lease) -> None:
    """Refuse to tell of a lease whose keys the caller may not read."""
    auth = services.machine.auth
    if auth.enabled and not auth.is_admin(services.callers.identity()):
        for key in sorted(lease.keys):
            services.callers.check_read(key)


def _check_renewal(services: MemberServices, lease_id: int) -> None:
    """Refuse to keep keys alive that the caller may not write."""
    services.callers.check_known()
    auth = services.machine.auth
    lease = services.store.lessor.find(lease_id)
    if auth.enabled and lease is not None:
        who = services.callers.identity()
        for key in () if auth.is_admin(who) else sorted(lease.keys):
            auth.check_write(who, key)


def keep_alive_handler(services: MemberServices) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def call(_: object, context: Context) -> None:
        try:
            services.callers.enter(context)
            services.check_voter()
            while (data := await context.read()) is not END_OF_REQUESTS:
                await context.write(await keep_alive(services, data))
        except (RefusedError, MvccError, EngineError, DecodeError) as error:
            await services.abort(context, error)

    return grpc.stream_stream_rpc_method_handler(call)


async def keep_alive(services: MemberServices, data: bytes) -> bytes:
    """Renew once; a lease that is gone is answered with a TTL of zero, as in etcd."""
    request = parse(LeaseKeepAliveRequest, data)
    _check_renewal(services, request.ID)
    # The header is from before: a revision of after a later revocation must not be shown.
    header = services.header(services.store.revision)
    try:
        # On nobody's behalf: whoever may renew was checked above, and expiry asks nobody.
        reply = await services.propose(Kind.LEASE_KEEP_ALIVE, data, NOBODY)
    except LeaseNotFoundError:
        return header + field_varint(2, request.ID)
    return header + reply.body
