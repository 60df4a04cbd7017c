"""The Watch service: the gRPC end of `watch_stream`. Source: etcd v3 API, Watch."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
from google.protobuf.message import DecodeError

from kubraft.pb.etcdserverpb.rpc_pb2 import WatchCreateRequest, WatchRequest
from store.beat import next_beat
from store.figures import FIGURES
from store.mvcc.errors import MvccError
from store.raft.engine import Engine
from store.rpc.caller import Context
from store.rpc.errors import NO_LEADER, RefusedError, refusal_of_request
from store.rpc.service import (
    END_OF_REQUESTS,
    REQUEST_OVERHEAD_BYTES,
    MemberServices,
    parse,
    requires_leader,
)
from store.rpc.watch_stream import WatchStream

# A stream that requires a leader ends after this many looks in a row without one.
# Source: etcd, server/etcdserver/api/v3rpc (monitorLeader).
_LEADER_POLL_S = 1.0
_LEADERLESS_POLLS_MAX = 3


def handler(services: MemberServices) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def call(_: object, context: Context) -> None:
        try:
            await services.enter(context)
            services.check_leader(context)
            services.check_voter()
            await serve(services, context)
        except (RefusedError, DecodeError) as error:
            await services.abort(context, error)

    return grpc.stream_stream_rpc_method_handler(call)


async def serve(services: MemberServices, context: Context) -> None:
    """Serve one stream until the client goes.

    Raises:
        RefusedError: the stream requires a leader and there is none.
        DecodeError: the client sent something else than watch requests.
    """
    stream = WatchStream(
        services.store,
        services.hub,
        services.header,
        progress_interval_s=services.options.watch_progress_interval_s,
        response_bytes_max=services.options.request_bytes_max + REQUEST_OVERHEAD_BYTES,
        now=asyncio.get_running_loop().time,
        refusal=lambda request: _refusal(services, request),
    )
    tasks = [
        asyncio.create_task(_read(stream, context), name="watch-read"),
        asyncio.create_task(_write(stream, context), name="watch-write"),
    ]
    if requires_leader(context):
        tasks.append(asyncio.create_task(_require_leader(services.engine), name="watch-leader"))
    FIGURES.watch_streams += 1
    try:
        # A client that has no more requests still gets its events, so only an error ends it.
        await asyncio.gather(*tasks)
    finally:
        FIGURES.watch_streams -= 1
        stream.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _refusal(services: MemberServices, request: WatchCreateRequest) -> str:
    """Why the caller may not watch that; empty if they may."""
    try:
        services.callers.check_read(request.key or b"\0", request.range_end)
    except MvccError as error:
        code, message = refusal_of_request(error)
        name = "".join(word.title() for word in code.name.split("_"))
        return f"rpc error: code = {name} desc = {message}"
    return ""


async def _read(stream: WatchStream, context: Context) -> None:
    while (data := await context.read()) is not END_OF_REQUESTS:
        stream.receive(parse(WatchRequest, data))
        await stream.room()


async def _write(stream: WatchStream, context: Context) -> None:
    while True:
        response = stream.next_response()
        if response is not None:
            await context.write(response)
        elif stream.is_lagging:
            stream.catch_up()
            await asyncio.sleep(0)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(stream.next_progress_at):
                    await stream.news()
            stream.notify_progress()


async def _require_leader(engine: Engine) -> None:
    leaderless = 0
    while leaderless < _LEADERLESS_POLLS_MAX:
        await next_beat(_LEADER_POLL_S)
        leaderless = 0 if engine.status().leader is not None else leaderless + 1
    raise RefusedError(grpc.StatusCode.UNAVAILABLE, NO_LEADER)
