"""Connections and datagrams through real sockets of the proxy to real endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Self, cast

import pytest
import uvloop

from agents.proxy import tcp_relay, udp_relay
from agents.proxy.fronts import Backends, Front
from agents.proxy.listeners import Listeners
from agents.proxy.service_ports import Endpoint
from kubraft.api.object import ObjectKey
from kubraft.api.time import ManualClock, settle
from tests.harness.eventually import eventually
from tests.harness.ports import free_port

HOST = "127.0.0.1"
SERVICE = ObjectKey("default", "web")
# A reset is seen by the first call after it, whichever that is.
REFUSED = "reset by peer|not connected|Broken pipe|lost"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def listeners(clock: ManualClock) -> AsyncIterator[Listeners]:
    made = Listeners(clock)
    yield made
    made.close()
    await settle()


def front(protocol: str = "TCP") -> Front:
    return Front(protocol, HOST, free_port())


def behind(*endpoints: Endpoint) -> Backends:
    return Backends(SERVICE, "uid", endpoints)


class Echo:
    """A server that answers with its name and what it was sent, once the client has ended."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.endpoint = Endpoint(HOST, free_port())
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, *self.endpoint)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        writer.write(self.name + b":" + data)
        writer.close()


async def ask(at: Front, data: bytes = b"") -> bytes:
    """Send, end one's own side, and read the answer to its end."""
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection(at.address, at.port)
        try:
            writer.write(data)
            writer.write_eof()
            return await reader.read()
        finally:
            writer.close()


async def test_each_connection_goes_to_the_next_endpoint_and_ends_as_it_should(
    listeners: Listeners,
) -> None:
    at = front()
    async with Echo("a") as a, Echo("b") as b:
        assert await listeners.apply({at: behind(a.endpoint, b.endpoint)}) == {}
        assert {await ask(at, b"hi") for _ in range(4)} == {b"a:hi", b"b:hi"}


def test_what_a_client_says_at_once_arrives_on_uvloop_too() -> None:
    """A loop may read a little before it hears that it should not yet."""

    async def story() -> None:
        listeners = Listeners(ManualClock())
        at = front()
        async with Echo("a") as a:
            await listeners.apply({at: behind(a.endpoint)})
            answers = await asyncio.gather(*(ask(at, b"%d" % n) for n in range(100)))
            assert answers == [b"a:%d" % n for n in range(100)]
            listeners.close()
            await settle()

    uvloop.run(story())


async def test_much_data_arrives_whole_through_a_reader_that_is_slow(listeners: Listeners) -> None:
    at = front()
    data = bytes(range(256)) * 16_384  # 4 MiB
    async with Echo("a") as a:
        await listeners.apply({at: behind(a.endpoint)})
        reader, writer = await asyncio.open_connection(at.address, at.port, limit=4_096)
        writer.write(data)
        writer.write_eof()
        await asyncio.sleep(0.2)  # both buffers fill up
        async with asyncio.timeout(30):
            assert await reader.read() == b"a:" + data
        writer.close()


async def test_an_endpoint_that_does_not_answer_costs_no_connection(listeners: Listeners) -> None:
    at = front()
    dead = Endpoint(HOST, free_port())
    async with Echo("a") as a:
        await listeners.apply({at: behind(dead, a.endpoint)})
        assert {await ask(at) for _ in range(4)} == {b"a:"}
        await listeners.apply({at: behind(dead)})
        with pytest.raises(OSError, match=REFUSED):
            await ask(at)


async def test_an_endpoint_that_hangs_costs_no_connection(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_relay, "CONNECT_TIMEOUTS_S", (0.05, 0.1))
    at = front()
    with socket.socket() as hung, contextlib.ExitStack() as waiting:
        hung.bind((HOST, 0))
        hung.listen(0)
        stuck = Endpoint(HOST, hung.getsockname()[1])
        for _ in range(4):  # its backlog is full: nobody is answered any more
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(stuck)
        async with Echo("a") as a:
            await listeners.apply({at: behind(stuck, a.endpoint)})
            assert {await ask(at) for _ in range(4)} == {b"a:"}
            await listeners.apply({at: behind(stuck)})
            with pytest.raises(OSError, match=REFUSED):
                await ask(at)


async def test_connections_beyond_the_maximum_are_reset_and_counted(clock: ManualClock) -> None:
    causes: list[str] = []
    listeners = Listeners(clock, 2, causes.append)
    one, two = front(), front()
    async with Echo("a") as a:
        await listeners.apply({one: behind(a.endpoint), two: behind(a.endpoint)})
        held = [await asyncio.open_connection(at.address, at.port) for at in (one, two)]
        await eventually(lambda: listeners.connection_count == 2, timeout_s=30)
        with pytest.raises(OSError, match=REFUSED):
            await ask(one)
        assert causes == ["limit"]
        for _, writer in held:
            writer.close()
        await eventually(lambda: listeners.connection_count == 0, timeout_s=30)
        assert await ask(one) == b"a:"
    listeners.close()
    await settle()


async def test_a_client_that_takes_nothing_holds_up_nobody_else(listeners: Listeners) -> None:
    """What it does not take stays with the endpoint; the proxy keeps a little of it."""
    sent = 0

    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            while True:
                writer.write(bytes(65_536))
                await writer.drain()
                sent += 65_536

    at, other = front(), front()
    source = Endpoint(HOST, free_port())
    server = await asyncio.start_server(pour, *source)
    async with Echo("a") as a:
        await listeners.apply({at: behind(source), other: behind(a.endpoint)})
        with socket.socket() as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            idle.setblocking(False)
            await asyncio.get_running_loop().sock_connect(idle, (at.address, at.port))
            before = -1
            while sent > before:  # until nothing moves any more
                before = sent
                await asyncio.sleep(0.2)
            assert await ask(other, b"hi") == b"a:hi"
            assert sent < 32 << 20  # the kernel's buffers, however large they grow
    server.close()


async def test_a_front_without_endpoints_refuses_at_once(listeners: Listeners) -> None:
    at = front()
    async with Echo("a") as a:
        await listeners.apply({at: behind(a.endpoint)})
        assert await ask(at) == b"a:"
        await listeners.apply({at: behind()})
        assert listeners.fronts == frozenset()
        with pytest.raises(ConnectionRefusedError):
            await ask(at)
        await listeners.apply({at: behind(a.endpoint)})
        assert await ask(at) == b"a:"
        await listeners.apply({})
        with pytest.raises(ConnectionRefusedError):
            await ask(at)


async def test_a_connection_outlives_the_front_and_the_endpoint_it_came_by(
    listeners: Listeners,
) -> None:
    at = front()
    async with Echo("a") as a, Echo("b") as b:
        await listeners.apply({at: behind(a.endpoint)})
        reader, writer = await asyncio.open_connection(at.address, at.port)
        writer.write(b"first")
        await asyncio.sleep(0.1)  # it is connected through
        await listeners.apply({at: behind(b.endpoint)})
        await listeners.apply({})
        writer.write(b" second")
        writer.write_eof()
        async with asyncio.timeout(30):
            assert await reader.read() == b"a:first second"
        writer.close()


async def test_a_reset_of_one_side_resets_the_other(listeners: Listeners) -> None:
    at = front()
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accepted.put(writer)
        await reader.read()

    endpoint = Endpoint(HOST, free_port())
    server = await asyncio.start_server(serve, *endpoint)
    await listeners.apply({at: behind(endpoint)})
    reader, writer = await asyncio.open_connection(at.address, at.port)
    writer.write(b"x")
    async with asyncio.timeout(30):
        failing = (await accepted.get()).transport
        at_once = struct.pack("ii", 1, 0)
        failing.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        failing.abort()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
    writer.close()
    server.close()


async def test_a_port_that_is_taken_is_told_of_and_tried_again(listeners: Listeners) -> None:
    at = front()
    async with Echo("a") as a:
        with socket.socket() as holder:
            holder.bind((at.address, at.port))
            holder.listen()
            failed = await listeners.apply({at: behind(a.endpoint)})
            assert list(failed) == [at]
            assert "ddress already in use" in failed[at]
        assert await listeners.apply({at: behind(a.endpoint)}) == {}
        assert await ask(at) == b"a:"


async def test_who_may_not_connect_is_reset(listeners: Listeners) -> None:
    at = front()
    async with Echo("a") as a:
        await listeners.apply({at: replace(behind(a.endpoint), sources=("10.0.0.0/8",))})
        with pytest.raises(OSError, match=REFUSED):
            await ask(at)


class EchoUdp(asyncio.DatagramProtocol):
    """Answers each datagram with its name and what it was sent."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.clients: set[tuple[str, int]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.clients.add(addr)
        self._transport.sendto(self.name + b":" + data, addr)


@pytest.fixture
async def echoes() -> AsyncIterator[dict[Endpoint, EchoUdp]]:
    loop = asyncio.get_running_loop()
    made: dict[Endpoint, EchoUdp] = {}
    transports = []
    for name in "ab":
        endpoint = Endpoint(HOST, free_port())
        made[endpoint] = EchoUdp(name)
        transport, _ = await loop.create_datagram_endpoint(
            lambda echo=made[endpoint]: echo,  # type: ignore[misc]
            local_addr=endpoint,
        )
        transports.append(transport)
    yield made
    for transport in transports:
        transport.close()
    await settle()


class UdpClient:
    """A socket that keeps its port, and asks again where a datagram is lost."""

    def __init__(self, at: Front) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect((at.address, at.port))

    async def ask(self, data: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        for _ in range(30):
            self._socket.send(data)
            try:
                async with asyncio.timeout(1):
                    return await loop.sock_recv(self._socket, 4_096)
            except (TimeoutError, ConnectionRefusedError):
                continue
        raise AssertionError("no answer")

    def close(self) -> None:
        self._socket.close()


async def test_a_udp_client_keeps_its_endpoint_until_that_is_gone(
    listeners: Listeners, echoes: dict[Endpoint, EchoUdp]
) -> None:
    at = front("UDP")
    await listeners.apply({at: behind(*echoes)})
    client = UdpClient(at)
    first = await client.ask(b"1")
    name = first[:1]
    assert [await client.ask(n) for n in (b"2", b"3")] == [name + b":2", name + b":3"]
    others = {each: echo for each, echo in echoes.items() if echo.name != name}
    await listeners.apply({at: behind(*others)})
    (other,) = others.values()
    assert await client.ask(b"4") == other.name + b":4"
    client.close()


async def test_udp_clients_are_forgotten_in_time_and_never_too_many(
    monkeypatch: pytest.MonkeyPatch,
    clock: ManualClock,
    listeners: Listeners,
    echoes: dict[Endpoint, EchoUdp],
) -> None:
    monkeypatch.setattr(udp_relay, "CLIENTS_MAX", 3)
    at = front("UDP")
    await listeners.apply({at: behind(*echoes)})
    clients = [UdpClient(at) for _ in range(5)]
    for number, client in enumerate(clients):
        assert (await client.ask(b"%d" % number)).endswith(b":%d" % number)
    relay = listeners.relay(at)
    assert isinstance(relay, udp_relay.UdpRelay)
    assert relay.client_count == 3
    await clock.advance(udp_relay.IDLE_S + 1)
    await clients[0].ask(b"again")
    assert relay.client_count == 1
    for client in clients:
        client.close()
