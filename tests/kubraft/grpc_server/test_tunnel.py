"""Connections that leave HTTP by an upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from kubraft.grpc_server import frames as f
from kubraft.grpc_server.exchange import Exchange
from kubraft.grpc_server.tunnel import Tunnel, UpgradeError
from tests.kubraft.grpc_server.raw import WAIT_S, Client, Served

UPGRADE = b"GET /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n"


class Site:
    """Shouts back what comes through a tunnel, up to a full stop."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self.refused = ""
        self.sent = 0

    async def handle(self, exchange: Exchange) -> None:
        try:
            tunnel = exchange.upgrade((("upgrade", "shout"), ("connection", "Upgrade")))
        except UpgradeError as error:
            self.refused = str(error)
            raise
        try:
            if exchange.request.path == "/flood":
                await self._flood(tunnel)
            else:
                await self._shout(tunnel)
        finally:
            self.ended.set()

    async def _shout(self, tunnel: Tunnel) -> None:
        while data := await tunnel.read():
            await self.reading.wait()
            await tunnel.write(data.upper())
            if b"." in data:
                return

    async def _flood(self, tunnel: Tunnel) -> None:
        while True:
            await tunnel.write(bytes(65_536))
            self.sent += 65_536


@pytest.fixture
async def site() -> Site:
    return Site()


@pytest.fixture
async def served(site: Site) -> AsyncIterator[Served]:
    served = Served(http=site.handle)
    await served.server.start()
    yield served
    await served.stop()


async def upgraded(served: Served, data: bytes = UPGRADE) -> Client:
    client = await served.client(preface=data)
    status, headers, _ = await client.response()
    assert (status, headers["upgrade"], headers["connection"]) == (101, "shout", "Upgrade")
    assert "transfer-encoding" not in headers
    return client


async def read(client: Client, size: int) -> bytes:
    return await asyncio.wait_for(client.reader.readexactly(size), WAIT_S)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(UPGRADE, id="GET, as WebSocket"),
        pytest.param(
            UPGRADE.replace(b"GET", b"POST").replace(b"Host", b"Content-Length: 0\r\nHost"),
            id="POST, as SPDY",
        ),
    ],
)
async def test_bytes_go_both_ways_and_the_handlers_end_is_the_connections(
    served: Served, request_: bytes
) -> None:
    client = await upgraded(served, request_ + b"early")
    assert await read(client, 5) == b"EARLY"
    for word in (b"one", b"GET / HTTP/2\r\n\r\n"):
        client.send(word)
        assert await read(client, len(word)) == word.upper()
    client.send(b"last.")
    assert await read(client, 5) == b"LAST."
    assert await client.ended()


async def test_what_was_sent_last_arrives_although_the_client_still_sends(served: Served) -> None:
    client = await upgraded(served)
    client.send(b"last." + bytes(100_000))
    await client.writer.drain()
    found = await asyncio.wait_for(client.reader.read(-1), WAIT_S)
    assert found.startswith(b"LAST.")


async def test_a_client_that_goes_ends_the_handlers_reading(served: Served, site: Site) -> None:
    client = await upgraded(served)
    client.send(b"bye")
    assert await read(client, 3) == b"BYE"
    client.writer.close()
    await asyncio.wait_for(site.ended.wait(), WAIT_S)


async def test_a_client_that_says_no_more_is_still_answered(served: Served, site: Site) -> None:
    site.reading.clear()
    client = await upgraded(served)
    client.send(b"the rest")
    client.writer.write_eof()
    site.reading.set()
    assert await asyncio.wait_for(client.reader.read(-1), WAIT_S) == b"THE REST"


async def test_a_handler_that_does_not_read_holds_its_client_up(served: Served, site: Site) -> None:
    site.reading.clear()
    client = await upgraded(served)
    total = 64 << 20
    sending = asyncio.create_task(_send(client, total))
    done, _ = await asyncio.wait({sending}, timeout=1)
    assert not done
    site.reading.set()
    left = total
    while left:
        left -= len(await asyncio.wait_for(client.reader.read(1 << 20), WAIT_S))
    await sending


async def _send(client: Client, total: int) -> None:
    for _ in range(total >> 20):
        client.send(bytes(1 << 20))
        await client.writer.drain()


async def test_a_client_that_does_not_read_holds_the_handler_up(served: Served, site: Site) -> None:
    client = await served.client(preface=UPGRADE.replace(b"/echo", b"/flood"))
    sent = -1
    while sent != site.sent or not sent:
        sent = site.sent
        await asyncio.sleep(0.2)
    assert sent < 64 << 20
    client.writer.transport.abort()
    await asyncio.wait_for(site.ended.wait(), WAIT_S)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(UPGRADE.replace(b"/1.1", b"/1.0"), id="HTTP/1.0"),
        pytest.param(
            UPGRADE.replace(b"Host", b"Content-Length: 9\r\nHost"), id="a body that is not whole"
        ),
    ],
)
async def test_no_upgrade_of(served: Served, site: Site, request_: bytes) -> None:
    client = await served.client(preface=request_)
    assert (await client.response())[0] == 500
    assert site.refused == "the request cannot be upgraded"


async def test_no_upgrade_of_http2(served: Served, site: Site) -> None:
    client = await served.client()
    fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/echo"),
        (":authority", "h"),
    ]
    client.send(client.block(1, fields, f.END_HEADERS | f.END_STREAM))
    found = await client.until(f.HEADERS)
    assert client.decoded(found[3])[":status"] == "500"
    assert site.refused == "this connection cannot be upgraded"


async def test_stopping_the_server_ends_tunnels(served: Served, site: Site) -> None:
    client = await upgraded(served)
    await served.server.stop(0.1)
    await asyncio.wait_for(site.ended.wait(), WAIT_S)
    assert await client.ended()
