"""What a connection does with clients that are odd, slow or hostile: bytes in, bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubraft.grpc_server import frames as f
from tests.kubraft.grpc_server.raw import CALL, Served, message


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    await served.server.start()
    yield served
    await served.stop()


async def test_call_cut_into_single_bytes(served: Served) -> None:
    client = await served.client()
    block = client.headers(1) + f.frame(f.DATA, f.END_STREAM, 1, message(b"hello"))
    for byte in block:
        client.send(bytes((byte,)))
        await client.writer.drain()
    assert (await client.until(f.DATA))[3] == message(b"hello")
    _, flags, _, trailers = await client.until(f.HEADERS)
    assert flags & f.END_STREAM
    assert ("grpc-status", "0") in [(str(n), str(v)) for n, v in client.decoder.decode(trailers)]


async def test_padding_priority_and_continuation_are_read(served: Served) -> None:
    client = await served.client()
    block = client.encoder.encode(CALL)
    flags = f.PADDED | f.WITH_PRIORITY
    client.send(
        f.frame(f.HEADERS, flags, 1, b"\x03" + bytes(5) + block[:4] + bytes(3)),
        f.frame(f.CONTINUATION, 0, 1, block[4:9]),
        f.frame(f.CONTINUATION, f.END_HEADERS, 1, block[9:]),
        f.frame(f.DATA, f.PADDED, 1, b"\x02" + message(b"one")[:6] + bytes(2)),
        f.frame(f.DATA, f.END_STREAM, 1, message(b"one")[6:]),
    )
    assert (await client.until(f.DATA))[3] == message(b"one")


async def test_response_waits_for_both_windows(served: Served) -> None:
    client = await served.client(preface=f.PREFACE + f.settings({f.SETTING_WINDOW: 10}))
    data = bytes(range(40))
    client.send(client.headers(1), f.frame(f.DATA, f.END_STREAM, 1, message(data)))
    got = (await client.until(f.DATA))[3]
    assert len(got) == 10
    client.send(f.window_update(1, 5))
    got += (await client.until(f.DATA))[3]
    assert len(got) == 15
    client.send(f.settings({f.SETTING_WINDOW: 1000}))
    got += (await client.until(f.DATA))[3]
    assert got == message(data)
    assert (await client.until(f.HEADERS))[1] & f.END_STREAM


async def test_ping_is_answered(served: Served) -> None:
    client = await served.client()
    client.send(f.frame(f.PING, 0, 0, b"12345678"))
    assert await client.until(f.PING) == (f.PING, f.ACK, 0, b"12345678")


async def test_reset_call_leaves_the_others_alone(served: Served) -> None:
    client = await served.client()
    client.send(
        client.headers(1),
        f.reset(1, f.CANCEL),
        f.frame(f.DATA, f.END_STREAM, 1, message(b"late")),
        client.headers(3),
        f.frame(f.DATA, f.END_STREAM, 3, message(b"other")),
    )
    assert (await client.until(f.DATA))[2:] == (3, message(b"other"))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(f.head(20_000, f.DATA, 0, 1), f.FRAME_SIZE_ERROR, id="frame-too-large"),
        pytest.param(f.frame(f.DATA, 0, 1, b"x"), f.PROTOCOL_ERROR, id="data-first"),
        pytest.param(f.frame(f.HEADERS, 4, 2, b"\x83"), f.PROTOCOL_ERROR, id="even-stream"),
        pytest.param(f.frame(f.HEADERS, 4, 1, b"\xff\xff\xff"), f.COMPRESSION_ERROR, id="hpack"),
        pytest.param(f.frame(f.CONTINUATION, 4, 1, b""), f.PROTOCOL_ERROR, id="continuation"),
        pytest.param(f.window_update(0, 0), f.PROTOCOL_ERROR, id="window-of-nothing"),
        pytest.param(
            f.window_update(0, f.WINDOW_BYTES_MAX), f.FLOW_CONTROL_ERROR, id="window-too-large"
        ),
        pytest.param(f.frame(f.SETTINGS, 0, 0, b"abc"), f.FRAME_SIZE_ERROR, id="settings-cut"),
        pytest.param(f.frame(f.PUSH_PROMISE, 0, 1, b""), f.PROTOCOL_ERROR, id="push"),
    ],
)
async def test_broken_protocol_ends_the_connection(served: Served, data: bytes, code: int) -> None:
    client = await served.client()
    client.send(data)
    assert int.from_bytes((await client.until(f.GOAWAY))[3][4:8], "big") == code
    assert await client.ended()


async def test_no_http2_is_refused(served: Served) -> None:
    client = await served.client(preface=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await client.ended()


@pytest.fixture(scope="module")
def loop_runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


_FRAMES = st.builds(
    f.frame,
    st.integers(0, 10),
    st.integers(0, 255),
    st.sampled_from([0, 1, 3, 5, 2**31 - 1]),
    st.binary(max_size=40),
)


@given(data=st.lists(st.one_of(_FRAMES, st.binary(max_size=60)), max_size=12).map(b"".join))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_bytes_hurt_the_server(loop_runner: asyncio.Runner, data: bytes) -> None:
    async def attack() -> None:
        failures: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: failures.append(context)
        )
        served = Served()
        await served.server.start()
        try:
            attacker = await served.client()
            attacker.send(data)
            await attacker.writer.drain()
            client = await served.client()
            client.send(client.headers(1), f.frame(f.DATA, f.END_STREAM, 1, message(b"ok")))
            assert (await client.until(f.DATA))[3] == message(b"ok")
        finally:
            await served.stop()
        assert not failures

    loop_runner.run(attack())
