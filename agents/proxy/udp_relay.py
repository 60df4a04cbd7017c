"""Carries datagrams between the clients of a front and its endpoints.

A client, by address and port, keeps its endpoint while datagrams come; its answers come from the
front's own address.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import cast

from agents.proxy.balancer import Balancer
from agents.proxy.service_ports import Endpoint
from kubraft.api.time import Clock

# As Linux' connection tracking: after this long without a datagram a client is forgotten.
IDLE_S = 30.0
CLIENTS_MAX = 1_000
# Datagrams of a client that wait while its socket is being made.
_WAITING_MAX = 16

Address = tuple[str, int]


class _Session(asyncio.DatagramProtocol):
    """The socket towards an endpoint, for one client."""

    def __init__(self, relay: UdpRelay, client: Address, endpoint: Endpoint, now_s: float) -> None:
        self._relay = relay
        self._client = client
        self.endpoint = endpoint
        self.used_s = now_s
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: list[bytes] = []
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        if self._closed:
            transport.close()
            return
        for data in self._waiting:
            self._transport.sendto(data)
        self._waiting.clear()

    def datagram_received(self, data: bytes, addr: Address) -> None:  # noqa: ARG002
        self._relay.answer(self._client, data)

    def error_received(self, exc: Exception) -> None:  # noqa: ARG002
        self._relay.forget(self._client, self)  # nobody listens: the next datagram tries another

    def send(self, data: bytes) -> None:
        """To the endpoint; lost, as datagrams may be, where too many wait."""
        if self._transport is not None:
            self._transport.sendto(data)
        elif len(self._waiting) < _WAITING_MAX:
            self._waiting.append(data)

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.abort()


class UdpRelay(asyncio.DatagramProtocol):
    """All clients of one UDP front."""

    def __init__(self, balancer: Balancer, clock: Clock) -> None:
        self.balancer = balancer
        self._clock = clock
        self._transport: asyncio.DatagramTransport | None = None
        self._sessions: OrderedDict[Address, _Session] = OrderedDict()
        self._opening: set[asyncio.Task[None]] = set()

    @property
    def client_count(self) -> int:
        return len(self._sessions)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        client = (addr[0], addr[1])
        now_s = self._clock.monotonic_s()
        self._expire(now_s)
        session = self._sessions.get(client)
        if session is None or session.endpoint not in self.balancer.backends.endpoints:
            if session is not None:
                self.forget(client, session)
            session = self._open(client, now_s)
        if session is not None:
            session.used_s = now_s
            self._sessions.move_to_end(client)
            session.send(data)

    def answer(self, client: Address, data: bytes) -> None:
        """Pass an endpoint's datagram on."""
        session = self._sessions.get(client)
        if session is not None and self._transport is not None:
            session.used_s = self._clock.monotonic_s()
            self._sessions.move_to_end(client)
            self._transport.sendto(data, client)

    def forget(self, client: Address, session: _Session) -> None:
        """End the session, if it still is that client's."""
        if self._sessions.get(client) is session:
            del self._sessions[client]
        session.close()

    def close(self) -> None:
        """Stop listening and end all sessions."""
        for task in self._opening:
            task.cancel()
        for client, session in list(self._sessions.items()):
            self.forget(client, session)
        if self._transport is not None:
            self._transport.abort()

    def _open(self, client: Address, now_s: float) -> _Session | None:
        endpoint = self.balancer.pick(client[0], now_s)
        if endpoint is None or not self.balancer.admits(client[0]):
            return None
        session = self._sessions[client] = _Session(self, client, endpoint, now_s)
        if len(self._sessions) > CLIENTS_MAX:
            self.forget(*next(iter(self._sessions.items())))
        task = asyncio.ensure_future(self._connect(client, session))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return session

    async def _connect(self, client: Address, session: _Session) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: session, remote_addr=session.endpoint)
        except OSError:
            self.forget(client, session)

    def _expire(self, now_s: float) -> None:
        while self._sessions:
            client, session = next(iter(self._sessions.items()))
            if now_s - session.used_s < IDLE_S:
                return
            self.forget(client, session)
