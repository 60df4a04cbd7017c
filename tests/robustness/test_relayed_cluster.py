"""The relays between members: what passes, what is lost, what is held back, in one direction."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.robustness.relayed_cluster import Hurt, RelayedCluster
from tests.robustness.socket_owner import owner_of

TO_1 = [("store-0", "store-1")]
FROM_1 = [("store-1", "store-0")]


class EchoCluster(RelayedCluster):
    """All connections are store-0's."""

    def caller_of(self, port: int, other_port: int) -> str | None:
        return "store-0"


class Echo:
    """Stands in for member store-1: says back what it hears, and store-0 calls it."""

    def __init__(self, cluster: RelayedCluster) -> None:
        self._cluster = cluster
        self.heard = b""
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> None:
        port = self._cluster._listen_ports["store-1"]
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        await self.call()

    async def call(self) -> None:
        cluster = self._cluster
        url = cluster.peer_url("store-1")
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", int(url[-5:]))
        self._writers.append(self.writer)
        self.writer.write(b"hello")
        assert await self.read(5) == b"hello"

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readexactly(size)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            self.heard += data
            writer.write(data)
        writer.close()

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._server.close()
        await asyncio.sleep(0)


@pytest.fixture
async def echo(tmp_path: Path) -> AsyncIterator[Echo]:
    cluster = EchoCluster(tmp_path)
    await cluster.open_relays()
    echo = Echo(cluster)
    await echo.open()
    yield echo
    await echo.close()
    await cluster.close_relays()


async def test_bytes_pass_both_ways(echo: Echo) -> None:
    echo.writer.write(b"x")
    assert await echo.read(1) == b"x"


async def test_what_is_held_arrives_when_it_heals(echo: Echo) -> None:
    network = echo._cluster.network
    network.hurt(TO_1, Hurt.HOLD)
    echo.heard = b""
    echo.writer.write(b"x")
    reading = asyncio.create_task(echo.read(1))
    await asyncio.wait([reading], timeout=0.2)
    assert not echo.heard
    network.heal()
    assert await reading == b"x"


async def test_one_direction_is_lost_and_the_other_is_not(echo: Echo) -> None:
    network = echo._cluster.network
    network.hurt(FROM_1, Hurt.LOSE)
    echo.heard = b""
    echo.writer.write(b"x")
    reading = asyncio.create_task(echo.read(1))
    await asyncio.wait([reading], timeout=0.2)
    assert echo.heard == b"x"
    assert not reading.done()
    network.heal()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await reading
    await echo.call()


async def test_a_cut_ends_what_is_connected(echo: Echo) -> None:
    echo._cluster.network.cut(TO_1)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await echo.read(1)


def test_the_owner_of_a_connection_is_found() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connection,
    ):
        here, there = connection.getsockname()[1], server.getsockname()[1]
        assert owner_of(here, there, {"init": 1, "us": os.getpid()}) == "us"
        assert owner_of(here, there, {"init": 1}) is None
        assert owner_of(1, there, {"us": os.getpid()}) is None
