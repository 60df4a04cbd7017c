"""The server as a real client, grpcio's, sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from kubraft.grpc_server.call import END_OF_REQUESTS
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer

BYTES_MAX = 2 << 20
# Typed by stubs that know no default arguments.
Channel = Any


class Servicer:
    """What the handlers below do, and what they saw."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.metadata: dict[str, Any] = {}

    async def echo(self, request: bytes, context: Any) -> bytes:
        self.metadata = dict(context.invocation_metadata())
        return request

    async def refuse(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("reason-bin", b"\x00\xff"), ("hint", "none")))
        await context.abort(grpc.StatusCode.NOT_FOUND, f"100% not there: {request.decode()} é")
        return b""

    async def fail(self, request: bytes, context: Any) -> bytes:
        raise ValueError(request.decode())

    async def hang(self, request: bytes, context: Any) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    async def count(self, request: bytes, context: Any) -> None:
        for _ in range(int(request)):
            await context.write(bytes(100_000))

    async def chat(self, requests: Any, context: Any) -> None:
        while (request := await context.read()) is not END_OF_REQUESTS:
            await context.write(request.upper())

    async def generate(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def total(self, requests: Any, context: Any) -> bytes:
        return b"%d" % sum([len(request) async for request in requests])


@pytest.fixture
async def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
async def channel(servicer: Servicer) -> AsyncIterator[Channel]:
    server = GrpcServer(Limits(message_bytes_max=BYTES_MAX))
    unary = {
        name: grpc.unary_unary_rpc_method_handler(getattr(servicer, name))
        for name in ("echo", "refuse", "fail", "hang")
    }
    handlers: dict[str, Any] = {
        **unary,
        "count": grpc.unary_stream_rpc_method_handler(servicer.count),
        "chat": grpc.stream_stream_rpc_method_handler(servicer.chat),
        "generate": grpc.stream_stream_rpc_method_handler(servicer.generate),
        "total": grpc.stream_unary_rpc_method_handler(servicer.total),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
    port = server.listen("127.0.0.1", 0, None)
    await server.start()
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        yield channel
    await server.stop(0.2)


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(0, id="empty"),
        pytest.param(16_384, id="one-frame-and-a-bit"),
        pytest.param(70_000, id="beyond-a-first-window"),
        pytest.param(BYTES_MAX, id="largest"),
    ],
)
async def test_message_comes_back(channel: Channel, size: int) -> None:
    assert await channel.unary_unary("/t.T/echo")(bytes(size)) == bytes(size)


async def test_many_large_calls_at_once_share_the_windows(channel: Channel) -> None:
    echo = channel.unary_unary("/t.T/echo")
    answers = await asyncio.gather(*(echo(bytes([n]) * 300_000) for n in range(60)))
    assert [(len(answer), answer[0]) for answer in answers] == [(300_000, n) for n in range(60)]


@pytest.mark.parametrize(
    ("method", "request_", "code", "text"),
    [
        pytest.param(
            "refuse", b"x", grpc.StatusCode.NOT_FOUND, "100% not there: x é", id="aborted"
        ),
        pytest.param("fail", b"oh", grpc.StatusCode.UNKNOWN, "oh", id="handler-raises"),
        pytest.param("none", b"", grpc.StatusCode.UNIMPLEMENTED, "unknown method none", id="none"),
        pytest.param(
            "echo",
            bytes(BYTES_MAX + 1),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "larger than max (2097153 vs. 2097152)",
            id="too-large",
        ),
    ],
)
async def test_refusals(
    channel: Channel, method: str, request_: bytes, code: grpc.StatusCode, text: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(f"/t.T/{method}")(request_)
    assert caught.value.code() is code
    assert text in (caught.value.details() or "")


async def test_metadata_travels_both_ways(channel: Channel, servicer: Servicer) -> None:
    for number in range(5):  # the later ones come out of the memory of header blocks
        sent = (("who", f"me-{number % 2}"), ("raw-bin", b"\x00\x01"))
        await channel.unary_unary("/t.T/echo")(b"", metadata=sent)
        assert servicer.metadata["who"] == f"me-{number % 2}"
        assert servicer.metadata["raw-bin"] == b"\x00\x01"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/t.T/refuse")(b"")
    trailing: Any = caught.value.trailing_metadata()
    assert trailing is not None
    assert trailing["reason-bin"] == b"\x00\xff"
    assert trailing["hint"] == "none"


async def test_deadline_ends_the_handler(channel: Channel, servicer: Servicer) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/t.T/hang")(b"", timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(servicer.cancelled.wait(), 30)


async def test_cancelling_ends_the_handler(channel: Channel, servicer: Servicer) -> None:
    call = channel.unary_unary("/t.T/hang")(b"")
    await channel.unary_unary("/t.T/echo")(b"")
    call.cancel()
    await asyncio.wait_for(servicer.cancelled.wait(), 30)


async def test_stream_of_responses_waits_for_a_slow_reader(channel: Channel) -> None:
    call = channel.unary_stream("/t.T/count")(b"40")
    sizes = []
    async for response in call:
        sizes.append(len(response))
        await asyncio.sleep(0)
    assert sizes == [100_000] * 40


@pytest.mark.parametrize("method", ["chat", "generate"])
async def test_requests_and_responses_alternate(channel: Channel, method: str) -> None:
    call = channel.stream_stream(f"/t.T/{method}")()
    for word in (b"ONE", b"TWO", bytes(200_000)):
        await call.write(word)
        assert await call.read() == word
    await call.done_writing()
    assert await call.read() is END_OF_REQUESTS
    assert await call.code() is grpc.StatusCode.OK


async def test_stream_of_requests_is_not_held_up(channel: Channel) -> None:
    call = channel.stream_unary("/t.T/total")()
    for _ in range(60):
        await call.write(bytes(150_000))
    await call.done_writing()
    assert await call == b"9000000"
