"""The Maintenance service. Source: etcd v3 API, Maintenance.

A snapshot is the database as LMDB wrote it with its SHA-256 behind it, so etcd's own tools can
save it and cannot look inside. There is no older version to downgrade to.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tempfile
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError

from kubraft.pb.etcdserverpb.rpc_pb2 import (
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    DefragmentRequest,
    DowngradeRequest,
    HashKVRequest,
    HashKVResponse,
    HashResponse,
    MoveLeaderRequest,
    SnapshotResponse,
    StatusResponse,
)
from store.figures import FIGURES
from store.mvcc.command import Kind
from store.mvcc.errors import MvccError
from store.paced_hash import hash_in_steps
from store.raft.engine import EngineError, MemberID, Role
from store.rpc.caller import Context
from store.rpc.disk import disk_work
from store.rpc.errors import NO_LEADER, TRANSFER_TIMED_OUT, Refusal, RefusedError
from store.rpc.service import MemberServices, parse

# The version of etcd whose behaviour we show; clients choose features by it.
ETCD_VERSION = "3.6.0"
_SNAPSHOT_CHUNK_BYTES = 32 * 1024
_DEFRAGMENT_RETRIES = 5
_DEFRAGMENTATION_DISTURBED = "etcdserver: a snapshot is being copied, defragment again"
_PERSIST_RETRY_S = 0.05
_VERSION = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?")
_NO_VERSION = Refusal(
    grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: wrong downgrade target version format"
)
_NO_TARGET = Refusal(
    grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: invalid downgrade target version"
)
_NO_DOWNGRADE = Refusal(
    grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: no inflight downgrade job"
)


async def status(services: MemberServices, _: bytes) -> bytes:
    services.callers.check_known()
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
        errors=[
            *([] if engine.leader is not None else [NO_LEADER]),
            *(
                f"memberID:{alarm.memberID} alarm:{AlarmType.Name(alarm.alarm)} "
                for alarm in services.machine.alarms.get()
            ),
        ],
        isLearner=services.is_learner(),
        storageVersion="3.6.0",
    )
    return services.header(services.store.revision) + response.SerializeToString()


async def alarm(services: MemberServices, data: bytes) -> bytes:
    request = parse(AlarmRequest, data)
    if request.action == AlarmRequest.GET:
        services.callers.check_known()
        await services.make_linearizable()
        response = AlarmResponse(alarms=services.machine.alarms.get(request.alarm))
        return services.header(services.store.revision) + response.SerializeToString()
    services.callers.check_admin()
    return services.response(await services.propose(Kind.ALARM, data))


async def defragment(services: MemberServices, data: bytes) -> bytes:
    """Rewrite the database file without holes; the member goes on serving meanwhile.

    Source: etcd v3 API, Maintenance.Defragment (there the member stands still).
    """
    parse(DefragmentRequest, data)
    services.callers.check_admin()
    FIGURES.defragmenting += 1
    try:
        with disk_work("defragmentation"), FIGURES.defragmentation_s.timed():
            done = await _defragment(services)
    finally:
        FIGURES.defragmenting -= 1
    if not done:
        raise RefusedError(grpc.StatusCode.UNAVAILABLE, _DEFRAGMENTATION_DISTURBED)
    return services.header(services.store.revision)


async def _defragment(services: MemberServices) -> bool:
    backend = services.machine.backend
    generation = await asyncio.to_thread(backend.copy_defragmented)
    for _ in range(_DEFRAGMENT_RETRIES):
        if backend.take_defragmented(generation):
            return True
        generation = await asyncio.to_thread(backend.copy_defragmented)
    # Flushes came in between again and again: now nothing else runs.
    await _persist(services)
    return backend.take_defragmented(backend.copy_defragmented())


async def _persist(services: MemberServices) -> None:
    """Make what is applied now durable, after a snapshot that is being copied."""
    wanted = services.machine.applied_index()
    while services.machine.persist() < wanted:  # noqa: ASYNC110  # a copy's end is no event
        await asyncio.sleep(_PERSIST_RETRY_S)


async def hash_(services: MemberServices, _: bytes) -> bytes:
    services.callers.check_admin()
    with FIGURES.hash_s.timed():
        run = await hash_in_steps(services.store)
    return services.header(run.revision) + HashResponse(hash=run.figure).SerializeToString()


async def hash_of_revision(services: MemberServices, data: bytes) -> bytes:
    services.callers.check_admin()
    store = services.store
    request = parse(HashKVRequest, data)
    with FIGURES.hash_of_revision_s.timed():
        run = await hash_in_steps(store, request.revision)
    response = HashKVResponse(
        hash=run.figure, compact_revision=run.compacted, hash_revision=run.revision
    )
    return services.header(store.revision) + response.SerializeToString()


async def move_leader(services: MemberServices, data: bytes) -> bytes:
    request = parse(MoveLeaderRequest, data)
    services.callers.check_admin()
    if services.engine.status().role is not Role.LEADER:
        raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: not leader")
    if request.targetID not in services.status().voters:
        raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
    if request.targetID != services.member_id:
        try:
            await services.engine.transfer_leadership(MemberID(request.targetID))
        except EngineError as error:
            raise RefusedError(grpc.StatusCode.UNKNOWN, TRANSFER_TIMED_OUT) from error
    return services.header(services.store.revision)


async def downgrade(services: MemberServices, data: bytes) -> bytes:
    """Refuse, as etcd does, a version that the cluster cannot be brought down to.

    Source: etcd, server/etcdserver (v3_server.go, downgradeValidate).
    """
    request = parse(DowngradeRequest, data)
    services.callers.check_admin()
    if request.action == DowngradeRequest.CANCEL:
        raise RefusedError(*_NO_DOWNGRADE)
    if not _VERSION.fullmatch(request.version):
        raise RefusedError(*_NO_VERSION)
    raise RefusedError(*_NO_TARGET)


def snapshot_handler(services: MemberServices) -> grpc.RpcMethodHandler[bytes, bytes]:
    """Stream the state: the database, and in a response of its own the SHA-256 of it."""

    async def call(data: bytes, context: Context) -> None:
        del data
        try:
            await services.enter(context)
            services.callers.check_admin()
            with disk_work("snapshot"):
                directory = tempfile.mkdtemp(dir=services.machine.backend.directory)
            try:
                with FIGURES.snapshot_s.timed():
                    await _send_file(services, Path(directory) / "snapshot", context)
            finally:
                await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        except (RefusedError, MvccError, EngineError, DecodeError) as error:
            await services.abort(context, error)

    return grpc.unary_stream_rpc_method_handler(call)


async def _send_file(services: MemberServices, path: Path, context: Context) -> None:
    with disk_work("snapshot"):
        await _persist(services)
        await asyncio.to_thread(services.machine.backend.copy, path)
        left = (await asyncio.to_thread(path.stat)).st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _SNAPSHOT_CHUNK_BYTES):
            left -= len(chunk)
            digest.update(chunk)
            await _send(services, chunk, left, context)
    await _send(services, digest.digest(), 0, context)


async def _send(services: MemberServices, chunk: bytes, left: int, context: Context) -> None:
    response = SnapshotResponse(remaining_bytes=left, blob=chunk, version=ETCD_VERSION)
    await context.write(services.header(services.store.revision) + response.SerializeToString())
