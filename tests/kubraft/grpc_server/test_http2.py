"""HTTP/2: requests that are not gRPC, compressed messages, headers that must not be."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from kubraft.grpc_server import frames as f
from tests.kubraft.grpc_server.raw import CALL, WAIT_S, Client, Served, Site, message

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/x?a=1"), (":authority", "h")]


@pytest.fixture
async def site() -> Site:
    return Site()


@pytest.fixture
async def served(site: Site) -> AsyncIterator[Served]:
    served = Served(http=site.handle)
    await served.server.start()
    yield served
    await served.stop()


def asking(path: str, method: str = "POST") -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "h")]


async def whole_body(client: Client, stream: int) -> bytes:
    body = b""
    while True:
        _, flags, at, data = await client.until(f.DATA)
        assert at == stream
        body += data
        if flags & f.END_STREAM:
            return body


async def test_request_and_call_share_a_connection(served: Served) -> None:
    client = await served.client()
    client.send(
        client.block(1, GET, f.END_HEADERS | f.END_STREAM),
        client.headers(3),
        f.frame(f.DATA, f.END_STREAM, 3, message(b"hello")),
    )
    answers = [(await client.until(f.DATA))[2:] for _ in range(3)]
    assert sorted(answers) == [(1, b""), (1, b"GET /x a=1 h"), (3, message(b"hello"))]


async def test_large_body_comes_back_through_small_windows(served: Served) -> None:
    client = await served.client(preface=f.PREFACE + f.settings({f.SETTING_WINDOW: 1000}))
    body = bytes(range(256)) * 1000
    pieces = [body[at : at + 16_000] for at in range(0, len(body), 16_000)]
    client.send(
        client.block(1, asking("/echo")),
        *(f.frame(f.DATA, 0, 1, piece) for piece in pieces),
        f.frame(f.DATA, f.END_STREAM, 1, b""),
        f.window_update(0, 1 << 20),
    )
    found = (await client.until(f.DATA))[3]
    assert len(found) == 1000
    client.send(f.window_update(1, 1 << 20))
    assert found + await whole_body(client, 1) == body


async def test_stream_goes_both_ways(served: Served) -> None:
    client = await served.client()
    client.send(client.block(1, asking("/lines")))
    for word in (b"one", b"two"):
        client.send(f.frame(f.DATA, 0, 1, word))
        assert (await client.until(f.DATA))[3] == word.upper()
    client.send(f.frame(f.DATA, f.END_STREAM, 1, b""))
    assert await whole_body(client, 1) == b""


async def test_reset_request_ends_its_handler(served: Served, site: Site) -> None:
    client = await served.client()
    client.send(client.block(1, asking("/hang"), f.END_HEADERS | f.END_STREAM))
    await client.until(f.DATA)
    client.send(f.reset(1, f.CANCEL))
    await asyncio.wait_for(site.cancelled.wait(), WAIT_S)


async def test_reader_that_stops_holds_its_writer_up(served: Served) -> None:
    client = await served.client()
    client.send(client.block(1, asking("/flood"), f.END_HEADERS | f.END_STREAM))
    got = 0
    while got < f.WINDOW_BYTES:
        got += len((await client.until(f.DATA))[3])
    client.send(client.block(3, GET, f.END_HEADERS | f.END_STREAM))
    assert (await client.until(f.HEADERS))[2] == 3


async def test_padding_gives_its_part_of_the_window_back(served: Served) -> None:
    client = await served.client()
    client.send(client.block(1, asking("/lines")))
    client.send(f.frame(f.DATA, f.PADDED, 1, b"\x09" + b"abc" + bytes(9)))
    assert await client.until(f.WINDOW_UPDATE)  # of the connection
    updates = {int.from_bytes((await client.until(f.WINDOW_UPDATE))[3], "big") for _ in range(2)}
    assert updates == {10, 3}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([*CALL, ("Upper", "x")], id="upper-case"),
        pytest.param([*CALL, ("a b", "x")], id="blank-in-name"),
        pytest.param([*CALL, ("a", "x\r\nb: y")], id="line-break"),
        pytest.param([*CALL, ("a", "x\0")], id="nul"),
        pytest.param([*CALL, (":path", "/y")], id="pseudo-header-after-others"),
        pytest.param([CALL[0], *CALL], id="pseudo-header-twice"),
        pytest.param([(":status", "200"), *CALL], id="response-header"),
        pytest.param([*CALL[1:]], id="no-method"),
        pytest.param([CALL[0], *CALL[2:]], id="no-scheme"),
        pytest.param([*CALL[:2], *CALL[3:]], id="no-path"),
        pytest.param([*CALL, ("connection", "close")], id="connection"),
        pytest.param([*CALL, ("transfer-encoding", "chunked")], id="transfer-encoding"),
        pytest.param([*CALL[:5], ("te", "gzip")], id="te"),
    ],
)
async def test_malformed_headers_reset_the_stream_alone(
    served: Served, fields: list[tuple[str, str]]
) -> None:
    client = await served.client()
    client.send(client.block(1, fields), client.block(3, GET, f.END_HEADERS | f.END_STREAM))
    _, _, stream, code = await client.until(f.RST_STREAM)
    assert (stream, int.from_bytes(code, "big")) == (1, f.PROTOCOL_ERROR)
    assert (await client.until(f.DATA))[2] == 3


async def test_data_after_the_end_ends_the_connection(served: Served) -> None:
    client = await served.client()
    client.send(client.block(1, asking("/hang"), f.END_HEADERS | f.END_STREAM))
    client.send(f.frame(f.DATA, 0, 1, b"more"))
    assert int.from_bytes((await client.until(f.GOAWAY))[3][4:8], "big") == f.STREAM_CLOSED


# gzip


@pytest.mark.parametrize("size", [pytest.param(3, id="small"), pytest.param(300_000, id="large")])
async def test_real_client_may_compress(served: Served, size: int) -> None:
    options: Any = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{served.port}", options, compression=grpc.Compression.Gzip
    ) as typed:
        channel: Any = typed
        assert await channel.unary_unary("/t.T/echo")(bytes(size)) == bytes(size)


async def test_compressed_message_is_answered_compressed(served: Served) -> None:
    client = await served.client()
    data = message(gzip.compress(bytes(1000)), compressed=True)
    client.send(
        client.headers(1, ("grpc-encoding", "gzip")), f.frame(f.DATA, f.END_STREAM, 1, data)
    )
    head = client.decoded((await client.until(f.HEADERS))[3])
    answer = (await client.until(f.DATA))[3]
    assert (head["grpc-encoding"], answer[0]) == ("gzip", 1)
    assert gzip.decompress(answer[5:]) == bytes(1000)


@pytest.mark.parametrize(
    ("encoding", "data", "status"),
    [
        pytest.param("gzip", message(b"no gzip", compressed=True), "13", id="no-gzip"),
        pytest.param(
            "gzip", message(gzip.compress(b"x")[:-3], compressed=True), "13", id="cut-off"
        ),
        pytest.param(
            "gzip", message(gzip.compress(bytes(20 << 20)), compressed=True), "8", id="bomb"
        ),
        pytest.param("identity", message(b"x", compressed=True), "13", id="not-announced"),
        pytest.param("gzip", b"\x02\0\0\0\x01x", "13", id="unknown-flag"),
        pytest.param("snappy", message(b"x", compressed=True), "12", id="unknown-encoding"),
    ],
)
async def test_useless_compression_is_refused(
    served: Served, encoding: str, data: bytes, status: str
) -> None:
    client = await served.client()
    pieces = [data[at : at + 16_000] for at in range(0, len(data), 16_000)]
    client.send(
        client.headers(1, ("grpc-encoding", encoding)),
        *(f.frame(f.DATA, 0, 1, piece) for piece in pieces),
        f.frame(f.DATA, f.END_STREAM, 1, b""),
    )
    assert client.decoded((await client.until(f.HEADERS))[3])["grpc-status"] == status
