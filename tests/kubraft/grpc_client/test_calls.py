"""The client with our server: calls, streams, windows, deadlines, and who comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from kubraft.grpc_client.call import END_OF_ANSWERS
from kubraft.grpc_client.channel import Channel
from kubraft.grpc_client.failure import CallError
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from tests.harness.eventually import eventually
from tests.harness.ports import free_port
from tests.kubraft.grpc_client.scripted import caller, channel_to

BYTES_MAX = 1 << 20


class Servicer:
    """What the handlers do, and what they saw."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.written = 0
        self.timeout_s: float | None = None

    async def echo(self, request: bytes, context: Any) -> bytes:
        self.timeout_s = context.time_remaining()
        return request

    async def refuse(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("reason-bin", b"\x00\xff"), ("hint", "none")))
        await context.abort(grpc.StatusCode.NOT_FOUND, f"100% not there: {request.decode()} é")
        return b""

    async def hang(self, request: bytes, context: Any) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1
        return request

    async def count(self, request: bytes, context: Any) -> None:
        for number in range(int(request)):
            self.written = number + 1
            await context.write(bytes(100_000))

    async def chat(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        try:
            async for request in requests:
                yield request.upper()
        finally:
            self.cancelled += 1


async def serve(servicer: Servicer, port: int, **limits: Any) -> GrpcServer:
    server = GrpcServer(Limits(message_bytes_max=BYTES_MAX, **limits))
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(getattr(servicer, name))
        for name in ("echo", "refuse", "hang")
    }
    handlers["count"] = grpc.unary_stream_rpc_method_handler(servicer.count)
    handlers["chat"] = grpc.stream_stream_rpc_method_handler(servicer.chat)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
    server.listen("127.0.0.1", port, None)
    await server.start()
    return server


@pytest.fixture
async def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
async def channel(servicer: Servicer) -> AsyncIterator[Channel]:
    port = free_port()
    server = await serve(servicer, port, streams_max=8)
    channel = channel_to(port)
    yield channel
    await channel.close()
    await server.stop(0.1)


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
    assert await caller(channel)(bytes(size)) == bytes(size)


async def test_more_calls_than_the_server_takes_at_once_wait_their_turn(channel: Channel) -> None:
    echo = caller(channel)
    answers = await asyncio.gather(*(echo(bytes([n]) * 100_000) for n in range(100)))
    assert [(len(answer), answer[0]) for answer in answers] == [(100_000, n) for n in range(100)]


async def test_a_refusal_has_its_code_text_and_metadata(channel: Channel) -> None:
    with pytest.raises(CallError) as refused:
        await caller(channel, "refuse")(b"x")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert refused.value.details() == "100% not there: x é"
    trailing: Any = refused.value.trailing_metadata()
    assert (trailing["reason-bin"], trailing["hint"]) == (b"\x00\xff", "none")


async def test_a_method_that_is_not_there_is_said_so(channel: Channel) -> None:
    with pytest.raises(CallError, match="unknown method none") as refused:
        await caller(channel, "none")(b"x")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_deadline_ends_the_call_on_both_sides(channel: Channel, servicer: Servicer) -> None:
    with pytest.raises(CallError) as late:
        await caller(channel, "hang")(b"x", timeout=0.05)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: servicer.cancelled, "the handler was told")
    await caller(channel)(b"x", timeout=30)
    assert servicer.timeout_s is not None
    assert 20 < servicer.timeout_s <= 30.1


async def test_a_caller_that_leaves_ends_the_call(channel: Channel, servicer: Servicer) -> None:
    calling = asyncio.ensure_future(caller(channel, "hang")(b"x"))
    await caller(channel)(b"x")  # behind it on the same connection
    calling.cancel()
    await eventually(lambda: servicer.cancelled, "the handler was told")
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_a_stream_goes_both_ways_until_it_is_cancelled(
    channel: Channel, servicer: Servicer
) -> None:
    stream = channel.stream_stream("/t.T/chat", bytes, bytes)()
    stream.send(b"a")  # before there is a connection
    stream.send(b"b")
    assert [await stream.read(), await stream.read()] == [b"A", b"B"]
    reading = asyncio.ensure_future(stream.read())
    await asyncio.sleep(0)
    stream.cancel()
    with pytest.raises(CallError) as ended:
        await reading
    assert ended.value.code() is grpc.StatusCode.CANCELLED
    stream.send(b"too late, and no harm")
    await eventually(lambda: servicer.cancelled, "the handler was told")


async def test_a_reader_that_does_not_read_holds_the_server_up(
    channel: Channel, servicer: Servicer
) -> None:
    stream = channel.unary_stream("/t.T/count", bytes, bytes)(b"600")  # 60 MB
    assert len(await stream.read()) == 100_000
    seen = 0
    while seen != servicer.written:
        seen = servicer.written
        await asyncio.sleep(0.2)
    assert seen < 400
    read = 1
    while (answer := await stream.read()) is not END_OF_ANSWERS:
        assert len(answer) == 100_000
        read += 1
    assert read == 600


async def test_a_server_that_is_started_again_is_found_again(servicer: Servicer) -> None:
    port = free_port()
    server = await serve(servicer, port)
    channel = channel_to(port)
    try:
        await caller(channel)(b"1")
        hanging = asyncio.ensure_future(caller(channel, "hang")(b"x"))
        await caller(channel)(b"2")
        await server.stop(0.0)
        with pytest.raises(CallError, match="server stopped|connection lost") as cut:
            await hanging
        assert (cut.value.code(), cut.value.sent) == (grpc.StatusCode.UNAVAILABLE, True)
        with pytest.raises(CallError, match="connection refused") as refused:
            await caller(channel)(b"3")
        assert not refused.value.sent
        server = await serve(servicer, port)
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await caller(channel)(b"4") == b"4"
                    break
                except CallError:
                    await asyncio.sleep(0.05)
    finally:
        await channel.close()
        await server.stop(0.0)
    with pytest.raises(CallError, match="closed"):
        await caller(channel)(b"5")
