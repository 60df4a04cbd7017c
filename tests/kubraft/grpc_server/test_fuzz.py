"""Conversations in HTTP/2 that begin well and go wrong: the server outlives them all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hpack import Encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubraft.grpc_server import frames as f
from tests.kubraft.grpc_server.raw import CALL, WAIT_S, Client, Served, Site, message

_STREAMS = st.sampled_from([0, 1, 1, 3, 3, 5, 2, 2**31 - 1])
_HEADS = st.sampled_from(
    [
        [*CALL],
        [*CALL, ("grpc-encoding", "gzip"), ("grpc-timeout", "10m")],
        [(n, "/t.T/hang" if n == ":path" else v) for n, v in CALL],
        *(
            [(":method", method), (":scheme", "http"), (":path", path), (":authority", "h")]
            for method, path in (
                ("GET", "/x"),
                ("POST", "/echo"),
                ("POST", "/lines"),
                ("GET", "/hang"),
                ("HEAD", "/flood"),
                ("GET", "no-path"),
            )
        ),
        [("trailer", "x")],
        [(":method", "POST"), (":method", "POST")],
    ]
)
_FLAGS = st.sampled_from([f.END_HEADERS, f.END_HEADERS | f.END_STREAM, 0, f.END_STREAM])
_BODIES = st.sampled_from(
    [
        message(b"hello"),
        message(b"hello")[:7],
        message(b"no gzip", compressed=True),
        b"\0\xff\xff\xff\xff",
        b"",
        bytes(16_000),
    ]
)


@st.composite
def _frames(draw: st.DrawFn) -> bytes:
    stream = draw(_STREAMS)
    match draw(st.sampled_from(["headers", "headers", "data", "data", "other", "noise"])):
        case "headers":
            return f.frame(f.HEADERS, draw(_FLAGS), stream, Encoder().encode(draw(_HEADS)))
        case "data":
            flags = draw(st.sampled_from([0, f.END_STREAM, f.PADDED]))
            return f.frame(f.DATA, flags, stream, draw(_BODIES))
        case "other":
            others = [
                f.window_update(stream, draw(st.sampled_from([0, 1, 100_000, 2**31 - 1]))),
                f.reset(stream, f.CANCEL),
                f.settings({draw(st.integers(0, 9)): draw(st.sampled_from([0, 1, 2**32 - 1]))}),
                f.frame(f.PING, draw(st.integers(0, 1)), 0, bytes(8)),
                f.goaway(stream, f.NO_ERROR),
                f.frame(f.CONTINUATION, f.END_HEADERS, stream, b""),
                f.frame(f.PRIORITY, 0, stream, bytes(5)),
            ]
            return draw(st.sampled_from(others))
    return draw(st.binary(max_size=30))


@st.composite
def _conversations(draw: st.DrawFn) -> bytes:
    data = bytearray(b"".join(draw(st.lists(_frames(), max_size=12))))
    for _ in range(draw(st.integers(0, 2)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


async def attack(data: bytes, *, cut_at: int) -> None:
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, found: failures.append(found))
    served = Served(http=Site().handle)
    await served.server.start()
    try:
        attacker = await served.client()
        attacker.send(data[:cut_at])
        await attacker.writer.drain()
        await asyncio.sleep(0)
        attacker.send(data[cut_at:])
        await attacker.writer.drain()
        await probe(await served.client())
    finally:
        await asyncio.wait_for(served.stop(), WAIT_S)
    assert not failures


async def probe(client: Client) -> None:
    client.send(client.headers(1), f.frame(f.DATA, f.END_STREAM, 1, message(b"ok")))
    assert (await client.until(f.DATA))[3] == message(b"ok")


@given(data=_conversations(), cut_at=st.integers(0, 300))
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_conversation_hurts_the_server(runner: asyncio.Runner, data: bytes, cut_at: int) -> None:
    runner.run(attack(data, cut_at=cut_at))
