"""The v3election service: one leader a name, chosen in line. Source: etcd v3 API, v3election."""

from __future__ import annotations

import asyncio

import grpc
from google.protobuf.message import DecodeError

from kubraft.pb.etcdserverpb.rpc_pb2 import DeleteRangeRequest, PutRequest, RequestOp, TxnResponse
from kubraft.pb.mvccpb.kv_pb2 import KeyValue
from kubraft.pb.v3electionpb.v3election_pb2 import (
    CampaignRequest,
    CampaignResponse,
    LeaderKey,
    LeaderRequest,
    LeaderResponse,
    ProclaimRequest,
    ResignRequest,
)
from store.mvcc.errors import MvccError
from store.raft.engine import EngineError
from store.rpc import queue_of_keys as line
from store.rpc.caller import Context
from store.rpc.errors import RefusedError
from store.rpc.service import MemberServices, parse

_NOT_LEADER = "election: not leader"
_NO_LEADER = "election: no leader"
_NO_LEADER_KEY = '"leader" field must be provided'


@line.as_client
async def campaign(services: MemberServices, data: bytes) -> bytes:
    """Wait until the caller leads; one who gives up leaves the line.

    Raises:
        RefusedError: the key is gone, as its lease ended or somebody deleted it.
    """
    request = parse(CampaignRequest, data)
    lease_id = await line.session(services, request.lease)
    key, prefix = line.key_of(request.name, lease_id), line.prefix_of(request.name)
    await line.check_readable(services, prefix)
    reply = await line.enter(services, key, request.value, lease_id)
    outcome = TxnResponse.FromString(reply.body)
    leader = LeaderKey(name=request.name, key=key, rev=reply.revision, lease=lease_id)
    if not outcome.succeeded:
        before = outcome.responses[0].response_range.kvs[0]
        leader.rev = before.create_revision
        if before.value != request.value:
            await _proclaim(services, leader, request.value)
    try:
        if await line.wait_for_turn(services, prefix, leader.rev):
            # While it waited, the lease may have ended where this member cannot see it yet.
            await services.make_linearizable()
    except (asyncio.CancelledError, EngineError):
        await line.give_up(services, key)
        raise
    elected = line.find(services, key)
    if elected is None or elected.create_revision != leader.rev:
        raise RefusedError(grpc.StatusCode.UNKNOWN, _NOT_LEADER)
    response = CampaignResponse(leader=leader)
    return services.header(reply.revision) + response.SerializeToString()


@line.as_client
async def proclaim(services: MemberServices, data: bytes) -> bytes:
    request = parse(ProclaimRequest, data)
    _check_leader_key(request)
    return services.header(await _proclaim(services, request.leader, request.value))


async def _proclaim(services: MemberServices, leader: LeaderKey, value: bytes) -> int:
    """Raises RefusedError: the key is not of that campaign any more."""
    put = PutRequest(key=leader.key, value=value, lease=leader.lease)
    reply = await line.if_created_at(services, leader.key, leader.rev, RequestOp(request_put=put))
    if not TxnResponse.FromString(reply.body).succeeded:
        raise RefusedError(grpc.StatusCode.UNKNOWN, _NOT_LEADER)
    return reply.revision


@line.as_client
async def resign(services: MemberServices, data: bytes) -> bytes:
    """Give the lead away; harmless if it is gone."""
    request = parse(ResignRequest, data)
    _check_leader_key(request)
    delete = RequestOp(request_delete_range=DeleteRangeRequest(key=request.leader.key))
    reply = await line.if_created_at(services, request.leader.key, request.leader.rev, delete)
    return services.header(reply.revision)


def _check_leader_key(request: ProclaimRequest | ResignRequest) -> None:
    if not request.HasField("leader"):
        raise RefusedError(grpc.StatusCode.UNKNOWN, _NO_LEADER_KEY)


@line.as_client
async def leader(services: MemberServices, data: bytes) -> bytes:
    prefix = line.prefix_of(parse(LeaderRequest, data).name)
    await line.check_readable(services, prefix)
    found = line.first_created(services, prefix)
    if found is None:
        raise RefusedError(grpc.StatusCode.UNKNOWN, _NO_LEADER)
    return services.header(services.store.revision) + _response(found)


def _response(kv: KeyValue) -> bytes:
    return LeaderResponse(kv=kv).SerializeToString()


def observe_handler(services: MemberServices) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def call(data: bytes, context: Context) -> None:
        try:
            await services.enter(context)
            services.check_voter()
            await _observe(services, parse(LeaderRequest, data), context)
        except (RefusedError, MvccError, EngineError, DecodeError) as error:
            await services.abort(context, error)

    return grpc.unary_stream_rpc_method_handler(call)


async def _observe(services: MemberServices, request: LeaderRequest, context: Context) -> None:
    """Send the leader's key at every change; values in quick succession may be left out."""
    prefix = line.prefix_of(request.name)
    await line.check_readable(services, prefix)
    sent = 0
    with line.changes(services, prefix, line.prefix_end(prefix)) as change:
        while True:
            found = line.first_created(services, prefix)
            if found is not None and found.mod_revision != sent:
                sent = found.mod_revision
                await context.write(services.header(services.store.revision) + _response(found))
            await change.wait()
