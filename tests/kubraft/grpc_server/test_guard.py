"""What a client may make the server do for nothing, and how long it may be silent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kubraft.grpc_server import frames as f
from kubraft.grpc_server.guard import Bucket, Guard, Limits
from tests.kubraft.grpc_server.raw import CALL, Client, Served, message

PING = f.frame(f.PING, 0, 0, bytes(8))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def strikes(guard: Guard, clock: Clock, pauses: list[float], *, busy: bool, spoke: bool) -> int:
    """How many pings go through, each after one of the pauses."""
    for count, pause in enumerate(pauses):
        clock.now += pause
        try:
            guard.ping(busy=busy, spoke=spoke)
        except f.ConnectionFaultError:
            return count
    return len(pauses)


@pytest.mark.parametrize(
    ("pauses", "busy", "spoke", "passed"),
    [
        pytest.param([6.0] * 100, True, False, 100, id="often-enough-with-calls"),
        pytest.param([1.0] * 10, True, False, 3, id="too-often-with-calls"),
        pytest.param([6.0] * 10, False, False, 3, id="too-often-without-calls"),
        pytest.param([7201.0] * 10, False, False, 10, id="seldom-without-calls"),
        pytest.param([0.1] * 1000, True, True, 1000, id="after-every-answer"),
    ],
)
def test_pings_as_grpc_allows_them(
    pauses: list[float], busy: bool, spoke: bool, passed: int
) -> None:
    clock = Clock()
    guard = Guard(Limits(ping_interval_s_min=5.0), clock)
    assert strikes(guard, clock, pauses, busy=busy, spoke=spoke) == passed


def test_bucket_gives_what_it_has_and_then_what_time_brings() -> None:
    clock = Clock()
    bucket = Bucket(3, 2.0, clock)
    assert [bucket.take() for _ in range(5)] == [True] * 3 + [False] * 2
    clock.now = 1.0
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock.now = 100.0
    assert [bucket.take() for _ in range(4)] == [True] * 3 + [False]


async def serving(limits: Limits, story: Callable[[Served, Client], Awaitable[None]]) -> None:
    served = Served(limits=limits)
    await served.server.start()
    try:
        await story(served, await served.client())
    finally:
        await served.stop()


def reset_calls(client: Client) -> bytes:
    numbers = range(1, 12_001, 2)
    return b"".join(client.headers(n) + f.reset(n, f.CANCEL) for n in numbers)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(lambda _: PING * 10, id="pings"),
        pytest.param(lambda _: f.settings({}) * 5000, id="settings"),
        pytest.param(reset_calls, id="resets"),
        pytest.param(
            lambda client: client.headers(1) + f.frame(f.DATA, 0, 1, b"") * 5000, id="empty-data"
        ),
        pytest.param(lambda _: f.frame(f.PRIORITY, 0, 1, bytes(5)) * 5000, id="priorities"),
        pytest.param(lambda _: f.frame(99, 0, 1, b"") * 5000, id="unknown-frames"),
        pytest.param(
            lambda _: f.frame(f.HEADERS, 0, 1, b"") + f.frame(f.CONTINUATION, 0, 1, b"") * 100,
            id="continuations",
        ),
    ],
)
async def test_flood_is_answered_with_calm_down(flood: Callable[[Client], bytes]) -> None:
    async def story(served: Served, client: Client) -> None:
        client.send(flood(client))
        while (found := await client.frame())[0] != f.GOAWAY:
            pass
        assert int.from_bytes(found[3][4:8], "big") == f.ENHANCE_YOUR_CALM
        assert await client.ended()
        other = await served.client()
        other.send(other.headers(1), f.frame(f.DATA, f.END_STREAM, 1, message(b"ok")))
        assert (await other.until(f.DATA))[3] == message(b"ok")

    await serving(Limits(), story)


async def test_client_that_reads_no_answers_is_cut_off() -> None:
    async def story(served: Served, client: Client) -> None:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(client.headers(1), f.frame(f.DATA, f.END_STREAM, 1, message(b"ok")))
        try:
            async with asyncio.timeout(60):
                while served.server._connections:
                    client.send(PING * 100, client.headers(3))
                    await asyncio.sleep(0)
                    await client.writer.drain()
        except ConnectionError:
            pass

    await serving(Limits(ping_interval_s_min=0), story)


async def test_streams_have_a_limit_that_is_announced() -> None:
    async def story(served: Served, client: Client) -> None:
        _, _, _, payload = await client.until(f.SETTINGS)
        assert dict(f.parse_settings(payload))[f.SETTING_STREAMS_MAX] == 2
        fields = [(n, "/t.T/hang" if n == ":path" else v) for n, v in CALL]
        for number in (1, 3, 5):
            client.send(client.block(number, fields))
            client.send(f.frame(f.DATA, f.END_STREAM, number, message(b"")))
        _, _, stream, code = await client.until(f.RST_STREAM)
        assert (stream, int.from_bytes(code, "big")) == (5, f.REFUSED_STREAM)

    await serving(Limits(streams_max=2), story)


async def test_silent_client_is_pinged_and_then_cut_off() -> None:
    async def story(served: Served, client: Client) -> None:
        for _ in range(2):  # an answer keeps it
            _, flags, _, payload = await client.until(f.PING)
            assert not flags & f.ACK
            client.send(f.frame(f.PING, f.ACK, 0, payload))
        await client.until(f.PING)
        assert await client.ended()

    limits = Limits(keepalive_interval_s=0.1, keepalive_timeout_s=3.0)
    await serving(limits, story)
