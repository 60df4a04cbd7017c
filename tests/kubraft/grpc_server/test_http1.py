"""HTTP/1.1 beside gRPC: framing, bounds, and clients that are odd, slow or hostile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from kubraft.grpc_server import frames as f
from tests.kubraft.grpc_server.raw import WAIT_S, Client, Served, Site, message

GET = b"GET /x?a=1 HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
async def site() -> Site:
    return Site()


@pytest.fixture
async def served(site: Site) -> AsyncIterator[Served]:
    served = Served(http=site.handle)
    await served.server.start()
    yield served
    await served.stop()


async def client_of(served: Served, data: bytes = b"") -> Client:
    return await served.client(preface=data)


async def test_requests_follow_each_other_on_a_connection(served: Served) -> None:
    client = await client_of(served, GET)
    for _ in range(3):
        assert (await client.response())[::2] == (200, b"GET /x a=1 h")
        client.send(GET)


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    client = await client_of(served, GET + GET.replace(b"/x", b"/y") + GET)
    bodies = [(await client.response())[2] for _ in range(3)]
    assert bodies == [b"GET /x a=1 h", b"GET /y a=1 h", b"GET /x a=1 h"]


async def test_request_cut_into_single_bytes(served: Served) -> None:
    client = await client_of(served)
    whole = (
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    for byte in whole:
        client.send(bytes((byte,)))
        await client.writer.drain()
    assert (await client.response())[::2] == (200, b"abc")


async def test_grpc_is_served_on_the_same_port(served: Served) -> None:
    client = await served.client()
    client.send(client.headers(1), f.frame(f.DATA, f.END_STREAM, 1, message(b"hello")))
    assert (await client.until(f.DATA))[3] == message(b"hello")


async def test_stream_goes_both_ways(served: Served) -> None:
    head = b"POST /lines HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = await client_of(served, head)
    await client.reader.readuntil(b"\r\n\r\n")
    for word in (b"one", b"two"):
        client.send(b"3\r\n", word, b"\r\n")
        assert await client.chunk() == word.upper()
    client.send(b"0\r\n\r\n")
    assert await client.chunk() == b""


async def test_client_that_waits_is_told_to_go_on(served: Served) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    client = await client_of(served, head)
    assert (await client.response())[0] == 100
    client.send(b"abc")
    assert (await client.response())[::2] == (200, b"abc")


async def test_head_has_no_body(served: Served) -> None:
    client = await client_of(served, b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n")
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert b"Content-Length: 10" in head
    client.send(GET)
    assert (await client.response())[2] == b"GET /x a=1 h"


async def test_head_with_a_malformed_body_is_refused_without_one(served: Served) -> None:
    head = b"HEAD /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    client = await client_of(served, head)
    answer = await asyncio.wait_for(client.reader.read(), WAIT_S)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\n")


async def test_http10_closes(served: Served) -> None:
    client = await client_of(served, b"GET /x HTTP/1.0\r\n\r\n")
    assert (await client.reader.read()).endswith(b"GET /x  ")


async def test_failure_of_a_handler_tells_nothing(served: Served) -> None:
    client = await client_of(served, GET.replace(b"/x", b"/fail"))
    status, _, body = await client.response()
    assert (status, body) == (500, b"Internal Server Error\n")


async def test_client_that_goes_ends_the_handler(served: Served, site: Site) -> None:
    client = await client_of(served, GET.replace(b"/x", b"/hang"))
    await client.reader.readuntil(b"begun")
    client.writer.close()
    await asyncio.wait_for(site.cancelled.wait(), WAIT_S)


async def test_client_that_says_no_more_gets_its_answer(served: Served) -> None:
    client = await client_of(served, GET)
    client.writer.write_eof()
    assert (await client.response())[2] == b"GET /x a=1 h"
    assert await client.ended()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"hello\r\n\r\n", 400, id="no-request"),
        pytest.param(b"GET /x HTTP/1.1\r\n\r\n", 400, id="no-host"),
        pytest.param(b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, id="two-hosts"),
        pytest.param(b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="target"),
        pytest.param(b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n", 400, id="blank-before-colon"),
        pytest.param(b"GET /x HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n", 400, id="folded-header"),
        pytest.param(b"GET /x HTTP/2.0\r\nHost: a\r\n\r\n", 505, id="version"),
        pytest.param(b"GET /x\r\n\r\n", 505, id="no-version"),
        pytest.param(b"GET /x HTTP/1.1\nHost: a\n\n", 400, id="line-feed-alone"),
        pytest.param(b"GET /x HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, id="return-alone"),
        pytest.param(
            b"POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            501,
            id="chunks-in-http-1.0",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            + b"X: y\r\n" * 20_000,
            431,
            id="endless-trailers",
        ),
        pytest.param(b"GET /x HTTP/1.1\r\nHost: a\x00\r\n\r\n", 400, id="nul"),
        pytest.param(b"GET /x HTTP/1.1\r\nHost: a\r\nX" + b"x" * 70_000, 431, id="long-header"),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            400,
            id="two-lengths",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\n",
            400,
            id="length-below-0",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n", 400, id="hex-length"
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            id="length-and-chunks",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            501,
            id="other-transfer-encoding",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            400,
            id="chunk-size",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcd",
            400,
            id="chunk-too-long",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n",
            413,
            id="handler-does-not-take-so-much",
        ),
    ],
)
async def test_malformed_request_is_refused(served: Served, request_: bytes, status: int) -> None:
    client = await client_of(served, request_)
    found, _, _ = await client.response()
    assert found == status
    if found != 200:
        assert await client.ended()


async def test_whole_answer_is_one_write(served: Served) -> None:
    client = await client_of(served, b"GET /whole HTTP/1.1\r\nHost: h\r\n\r\n")
    seen = await asyncio.wait_for(client.reader.read(65_536), WAIT_S)
    assert seen.startswith(b"HTTP/1.1 200 OK\r\n")
    assert seen.endswith(b"\r\n\r\nall of it")


async def test_body_after_an_upgrade_is_not_the_next_request(served: Served) -> None:
    """The protocol is not switched, so what follows is this request's body."""
    hidden = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    for framed in (
        b"Content-Length: %d\r\n\r\n%b" % (len(hidden), hidden),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden),
    ):
        client = await client_of(served, head + framed + GET)
        assert (await client.response())[2] == hidden
        assert (await client.response())[2] == b"GET /x a=1 h"


async def test_flood_of_pipelined_requests_waits_as_bytes(served: Served) -> None:
    client = await client_of(served, GET.replace(b"/x", b"/hang") + GET * 8_000)
    await client.reader.readuntil(b"begun")
    connection = next(c for c in served.server._connections if c.running())
    reader = connection._reader  # type: ignore[attr-defined]
    assert len(reader._events) == 0
    assert reader.waiting <= 1 << 19


async def test_handler_cannot_split_the_response(served: Served) -> None:
    client = await client_of(served, b"GET /split HTTP/1.1\r\nHost: h\r\n\r\n")
    status, headers, _ = await client.response()
    assert (status, "evil" in headers) == (500, False)


async def test_reader_that_stops_holds_its_writer_up(served: Served, site: Site) -> None:
    client = await client_of(served, GET.replace(b"/x", b"/flood"))
    await client.reader.readexactly(1 << 20)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    other = await client_of(served, GET)
    assert (await other.response())[0] == 200
    connection = next(c for c in served.server._connections if c.running())
    size = connection.transport.get_write_buffer_size  # type: ignore[attr-defined]
    await asyncio.sleep(0.2)
    assert size() < 1 << 20


async def test_sender_that_is_not_read_is_held_up(served: Served) -> None:
    head = b"POST /hang HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = await client_of(served, head)
    chunk = b"10000\r\n" + bytes(65_536) + b"\r\n"
    sent = 0
    try:
        async with asyncio.timeout(1):
            while True:
                client.send(chunk)
                await client.writer.drain()
                sent += 1
    except TimeoutError:
        pass
    assert sent
    connection = next(c for c in served.server._connections if c.running())
    assert connection._unread < 1 << 20  # type: ignore[attr-defined]
