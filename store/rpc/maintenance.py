"""The Maintenance service. Source: etcd v3 API, Maintenance.

Alarms can be asked for and there never are any; there is no downgrade.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError

from kubraft.pb.etcdserverpb.rpc_pb2 import (
    AlarmRequest,
    AlarmResponse,
    HashKVRequest,
    HashKVResponse,
    HashResponse,
    MoveLeaderRequest,
    SnapshotResponse,
    StatusResponse,
)
from store.mvcc.errors import MvccError
from store.mvcc.hash import hash_kv
from store.raft.engine import EngineError, MemberID, Role
from store.rpc.errors import NO_LEADER, RefusedError
from store.rpc.service import Context, MemberServices, parse

# The version of etcd whose behaviour we show; clients choose features by it.
ETCD_VERSION = "3.6.0"
_SNAPSHOT_CHUNK_BYTES = 32 * 1024


async def status(services: MemberServices, _: bytes) -> bytes:
    engine = services.engine.status()
    total, used = services.machine.backend.file_bytes()
    response = StatusResponse(
        version=ETCD_VERSION,
        dbSize=total,
        dbSizeInUse=used,
        dbSizeQuota=services.options.quota_bytes,
        leader=engine.leader or 0,
        raftIndex=engine.commit_index,
        raftTerm=engine.term,
        raftAppliedIndex=engine.applied_index,
        errors=[] if engine.leader is not None else [NO_LEADER],
        isLearner=engine.role is Role.LEARNER,
        storageVersion="3.6.0",
    )
    return services.header(services.store.revision) + response.SerializeToString()


async def alarm(services: MemberServices, data: bytes) -> bytes:
    request = parse(AlarmRequest, data)
    if request.action == AlarmRequest.ACTIVATE:
        raise RefusedError(
            grpc.StatusCode.UNIMPLEMENTED, "etcdserver: alarms cannot be raised by clients"
        )
    return services.header(services.store.revision) + AlarmResponse().SerializeToString()


async def hash_(services: MemberServices, _: bytes) -> bytes:
    figure, revision = hash_kv(services.store)
    return services.header(revision) + HashResponse(hash=figure).SerializeToString()


async def hash_of_revision(services: MemberServices, data: bytes) -> bytes:
    store = services.store
    figure, revision = hash_kv(store, parse(HashKVRequest, data).revision)
    response = HashKVResponse(hash=figure, compact_revision=store.compacted, hash_revision=revision)
    return services.header(store.revision) + response.SerializeToString()


async def move_leader(services: MemberServices, data: bytes) -> bytes:
    request = parse(MoveLeaderRequest, data)
    if services.engine.status().role is not Role.LEADER:
        raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: not leader")
    if request.targetID not in services.members:
        raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
    await services.engine.transfer_leadership(MemberID(request.targetID))
    return services.header(services.store.revision)


def snapshot_handler(services: MemberServices) -> grpc.RpcMethodHandler[bytes, bytes]:
    """Stream the state as a snapshot file: the database, then its length and checksum."""

    async def call(data: bytes, context: Context) -> None:
        del data
        try:
            with tempfile.TemporaryDirectory(dir=services.machine.backend.directory) as directory:
                await _send_file(services, Path(directory) / "snapshot", context)
        except (MvccError, EngineError, DecodeError) as error:
            await services.abort(context, error)

    return grpc.unary_stream_rpc_method_handler(call)


async def _send_file(services: MemberServices, path: Path, context: Context) -> None:
    services.machine.persist()
    await asyncio.to_thread(services.machine.save_snapshot, path)
    left = (await asyncio.to_thread(path.stat)).st_size
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _SNAPSHOT_CHUNK_BYTES):
            left -= len(chunk)
            response = SnapshotResponse(remaining_bytes=left, blob=chunk, version=ETCD_VERSION)
            await context.write(
                services.header(services.store.revision) + response.SerializeToString()
            )
