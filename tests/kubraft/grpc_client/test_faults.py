"""The client with servers that do wrong, fall silent or leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubraft.grpc_client import channel as channel_module
from kubraft.grpc_client.alarms import Alarms
from kubraft.grpc_client.call import UnaryCall
from kubraft.grpc_client.connection import Connection, Events
from kubraft.grpc_client.failure import CallError
from kubraft.grpc_server import frames as f
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.headers import field
from tests.harness.eventually import eventually
from tests.harness.ports import free_port
from tests.kubraft.grpc_client.scripted import LIMITS, Peer, Scripted, caller, channel_to

GOOD = (":status", "200"), ("content-type", "application/grpc")


async def failing(peer_does: Callable[[Peer], bytes], limits: Limits = LIMITS) -> CallError:
    """How a call fails whose server does this on stream 1."""

    async def script(peer: Peer) -> None:
        await peer.until(f.DATA)
        peer.send(peer_does(peer))

    async with Scripted(script) as server:
        channel = channel_to(server.port, limits)
        try:
            with pytest.raises(CallError) as failed:
                await caller(channel)(b"x", timeout=60)
        finally:
            await channel.close()
    return failed.value


def _data(payload: bytes, flags: int = 0) -> Callable[[Peer], bytes]:
    return lambda peer: peer.headers(1, *GOOD) + f.frame(f.DATA, flags, 1, payload)


def _message(size: int, *, compressed: bool = False) -> bytes:
    return bytes((compressed,)) + size.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("does", "code", "text", "sent"),
    [
        pytest.param(
            lambda _: f.reset(1, f.REFUSED_STREAM), "UNAVAILABLE", "RST_STREAM", False, id="refused"
        ),
        pytest.param(lambda _: f.reset(1, f.CANCEL), "CANCELLED", "code 8", True, id="reset"),
        pytest.param(
            lambda peer: peer.headers(1, (":status", "503"), end=True),
            "UNAVAILABLE",
            "HTTP status code received from server: 503",
            True,
            id="http-503",
        ),
        pytest.param(
            lambda peer: peer.headers(1, (":status", "415"), ("content-type", "text/html")),
            "UNKNOWN",
            "415",
            True,
            id="not-grpc",
        ),
        pytest.param(
            lambda peer: peer.headers(1, *GOOD) + peer.headers(1, ("x", "y"), end=True),
            "UNKNOWN",
            "no status",
            True,
            id="no-status",
        ),
        pytest.param(
            lambda peer: peer.headers(1, *GOOD, ("grpc-status", "0"), end=True),
            "INTERNAL",
            "without a message",
            True,
            id="no-message",
        ),
        pytest.param(
            _data(_message(0), f.END_STREAM), "INTERNAL", "without its status", True, id="no-end"
        ),
        pytest.param(
            _data(_message(1, compressed=True) + b"x"), "INTERNAL", "compressed", True, id="gzip"
        ),
        pytest.param(
            _data(_message(2 << 20)), "RESOURCE_EXHAUSTED", "larger than max", True, id="too-large"
        ),
        pytest.param(
            lambda _: f.frame(f.DATA, 0, 1, b"x"), "UNAVAILABLE", "broke HTTP/2", True, id="early"
        ),
        pytest.param(
            lambda _: f.head(20_000, f.DATA, 0, 1), "UNAVAILABLE", "frame of", True, id="huge-frame"
        ),
        pytest.param(
            lambda _: f.frame(f.HEADERS, f.END_HEADERS, 1, b"\xff\xff\xff"),
            "UNAVAILABLE",
            "broke HTTP/2",
            True,
            id="no-hpack",
        ),
        pytest.param(
            lambda _: f.goaway(0, f.NO_ERROR), "UNAVAILABLE", "leaving", False, id="goaway"
        ),
    ],
)
async def test_what_a_server_does_wrong(
    does: Callable[[Peer], bytes], code: str, text: str, sent: bool
) -> None:
    error = await failing(does)
    assert (error.code().name, error.sent) == (code, sent)
    assert text in (error.details() or "")


async def test_an_answer_in_many_pieces_is_put_together() -> None:
    async def script(peer: Peer) -> None:
        await peer.until(f.DATA)
        peer.send(peer.headers(1, (":status", "103")))
        whole = peer.answer(1, b"hello" * 1000)
        for at in range(0, len(whole), 700):
            peer.send(whole[at : at + 700])
            await asyncio.sleep(0)

    async with Scripted(script) as server:
        channel = channel_to(server.port)
        assert await caller(channel)(b"x") == b"hello" * 1000
        await channel.close()


async def test_a_server_that_leaves_answers_what_it_has_and_the_next_call_goes_elsewhere() -> None:
    async def script(peer: Peer) -> None:
        _, _, stream, _ = await peer.until(f.DATA)
        if server.connections == 1:
            peer.send(f.goaway(stream, f.NO_ERROR))
            asked.set()
            await moved.wait()
        peer.send(peer.answer(stream, b"%d" % server.connections))

    asked, moved = asyncio.Event(), asyncio.Event()
    async with Scripted(script) as server:
        channel = channel_to(server.port)
        first = asyncio.ensure_future(caller(channel)(b"x"))
        await asked.wait()
        await eventually(lambda: not channel.ready, "the client heard")
        second = await caller(channel)(b"y")
        moved.set()
        assert (second, await first) == (b"2", b"2")
        await channel.close()


async def test_while_there_is_no_server_calls_fail_at_once() -> None:
    channel = channel_to(free_port())
    for _ in range(20):
        with pytest.raises(CallError, match="connection refused") as refused:
            await caller(channel)(b"x", timeout=60)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    await channel.close()


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "CONNECT_TIMEOUT_S", 0.2)

    async def script(_: Peer) -> None:
        await asyncio.Event().wait()

    async with Scripted(script, settings=False) as server:
        channel = channel_to(server.port)
        with pytest.raises(CallError, match="no answer in time") as silent:
            await caller(channel)(b"x", timeout=60)
        assert not silent.value.sent
        assert not channel.ready
        await channel.close()


async def test_a_server_that_falls_silent_is_pinged_and_given_up() -> None:
    pings: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            pings.append((await peer.until(f.PING))[3])

    async with Scripted(script) as server:
        channel = channel_to(server.port, Limits(keepalive_interval_s=0.1, keepalive_timeout_s=0.1))
        with pytest.raises(CallError, match="no answer in time") as silent:
            await caller(channel)(b"x", timeout=60)
        assert silent.value.sent
        assert pings
        await channel.close()


async def test_without_calls_no_server_is_pinged() -> None:
    kinds: list[int] = []

    async def script(peer: Peer) -> None:
        _, _, stream, _ = await peer.until(f.DATA)
        peer.send(peer.answer(stream, b""))
        while True:
            kinds.append((await peer.frame())[0])

    async with Scripted(script) as server:
        channel = channel_to(
            server.port, Limits(keepalive_interval_s=0.02, keepalive_timeout_s=0.02)
        )
        await caller(channel)(b"x")
        await asyncio.sleep(0.3)
        assert channel.ready
        assert f.PING not in kinds
        await channel.close()


class _Wire:
    """A transport that leads nowhere."""

    def __init__(self) -> None:
        self.closed = False

    def write(self, data: bytes) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


_BLOCKS = st.sampled_from(
    [
        b"\x88",
        b"\x88" + field("grpc-status", "0"),
        field("grpc-status", "x") + field("grpc-message", "%"),
        field(":status", "99999999999"),
        b"",
        b"\xff",
    ]
)
_BODIES = st.sampled_from([b"", b"\0\0\0\0\1x", b"\1\0\0\0\1x", b"\0\xff\xff\xff\xff", b"\0\0"])


@st.composite
def _frames(draw: st.DrawFn) -> bytes:
    stream = draw(st.sampled_from([0, 1, 1, 1, 3, 5, 2]))
    flags = draw(st.sampled_from([0, 1, 4, 5, 8, 0x2D]))
    number = draw(st.sampled_from([0, 1, 70_000, 2**31 - 1]))
    made = [
        f.frame(f.HEADERS, flags, stream, draw(_BLOCKS)),
        f.frame(f.DATA, flags, stream, draw(_BODIES)),
        f.window_update(stream, number),
        f.reset(stream, draw(st.integers(0, 20))),
        f.settings({draw(st.integers(0, 9)): number}),
        f.frame(f.PING, flags, 0, bytes(8)),
        f.goaway(stream, f.NO_ERROR),
        f.frame(f.CONTINUATION, flags, stream, draw(_BLOCKS)),
        draw(st.binary(max_size=20)),
    ]
    return draw(st.sampled_from(made))


@settings(max_examples=60, deadline=None)
@given(st.lists(_frames(), max_size=10), st.integers(1, 40))
def test_whatever_a_server_says_every_call_ends_once(said: list[bytes], step: int) -> None:
    async def run() -> None:
        events = Events(lambda _: None, lambda _: None, lambda *_: None)
        connection = Connection(LIMITS, events)
        wire = _Wire()
        connection.connection_made(cast("Any", wire))
        calls = [UnaryCall(connection, b"\x83", bytes(5), bytes, Alarms()) for _ in range(3)]
        connection.data_received(f.settings({}))
        for call in calls:
            connection.begin(call)
        data = b"".join(said)
        for at in range(0, len(data), step):
            if not wire.closed:
                connection.data_received(data[at : at + step])
        calls[1].answer.cancel()
        connection.connection_lost(None)
        assert all(call.answer.done() for call in calls)
        for call in calls:
            if not call.answer.cancelled() and (error := call.answer.exception()) is not None:
                assert isinstance(error, CallError)

    asyncio.run(run())
