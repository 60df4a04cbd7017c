"""Carries TCP connections from a front to an endpoint, byte for byte, half-closes included.

What one side does not take, the other is not asked for: a slow reader costs the kernel's buffers
and one buffer of ours. An endpoint that does not answer is passed over for the next one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Collection
from typing import cast

from agents.proxy.balancer import Balancer
from agents.proxy.service_ports import Endpoint
from kubraft.api.time import Clock

# How long an endpoint has to answer, one round over all of them after another. On one machine an
# endpoint answers at once or its backlog is full: then another one is the better choice.
CONNECT_TIMEOUTS_S = (0.25, 0.5, 1.0, 2.0)
# Connections through one front at a time; those beyond it are reset.
CONNECTIONS_MAX = 4_096


_RESET = struct.pack("ii", 1, 0)  # struct linger: on, for no time


def _reset(transport: asyncio.Transport) -> None:
    """End a connection so that the peer sees that it failed, where it is not ended already."""
    if not transport.is_closing():
        descriptor = os.dup(transport.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


class _Side(asyncio.Protocol):
    """One of the two sockets of a connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self.ended = False  # it will send no more
        # What came before there was another side: not much, as nothing more is read till then.
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def join(self, other: _Side) -> None:
        """From now on what comes here goes there."""
        self.other = other
        for data in self._early:
            self.data_received(data)
        self._early.clear()
        if self.ended:
            self.eof_received()

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        elif self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        self.ended = True
        other = self.other
        if other is None:
            return True
        if other.transport is None or other.ended:
            return False
        if not other.transport.is_closing():
            other.transport.write_eof()
        return True  # the other way goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.other is not None and self.other.transport is not None:
            if exc is None:
                self.other.transport.close()
            else:
                _reset(self.other.transport)


class _Accepted(_Side):
    """The client's side; finds an endpoint as soon as it is there."""

    def __init__(self, relay: TcpRelay) -> None:
        super().__init__()
        self._relay = relay
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        if not self._relay.enter(self):
            _reset(self.transport)
            return
        self.transport.pause_reading()
        self._connecting = asyncio.ensure_future(self._connect(self.transport))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._connecting is not None:
            self._connecting.cancel()
        self._relay.leave(self)

    async def _connect(self, transport: asyncio.Transport) -> None:
        client = transport.get_extra_info("peername")[0]
        side = await self._relay.connect(client)
        if side is None:
            _reset(transport)
            return
        if transport.is_closing():
            if side.transport is not None:
                side.transport.abort()
            return
        side.join(self)
        self.join(side)
        transport.resume_reading()


async def _connected(endpoint: Endpoint, timeout_s: float) -> _Side:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        _, side = await loop.create_connection(_Side, endpoint.address, endpoint.port)
    return side


class Room:
    """Counts connections up to a maximum."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.count = 0

    def enter(self) -> bool:
        """Count one more, if there is room."""
        if self.count >= self._most:
            return False
        self.count += 1
        return True

    def leave(self) -> None:
        """One that was counted has ended."""
        self.count -= 1


class TcpRelay:
    """All connections of one TCP front."""

    def __init__(
        self,
        balancer: Balancer,
        clock: Clock,
        room: Room | None = None,
        on_refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`room` is shared by all relays of the machine; `on_refused` hears causes."""
        self.balancer = balancer
        self._clock = clock
        self._room = room or Room(CONNECTIONS_MAX)
        self._on_refused = on_refused
        self._open: set[_Accepted] = set()

    @property
    def connection_count(self) -> int:
        return len(self._open)

    def factory(self) -> Callable[[], asyncio.Protocol]:
        """What a server makes for each connection."""
        return lambda: _Accepted(self)

    def enter(self, side: _Accepted) -> bool:
        """Whether the connection may be; it is counted then."""
        assert side.transport is not None
        client = side.transport.get_extra_info("peername")[0]
        if not self.balancer.admits(client):
            self._on_refused("source")
            return False
        if len(self._open) >= CONNECTIONS_MAX or not self._room.enter():
            self._on_refused("limit")
            return False
        self._open.add(side)
        return True

    def leave(self, side: _Accepted) -> None:
        """The connection has ended."""
        if side in self._open:
            self._open.discard(side)
            self._room.leave()

    async def connect(self, client: str) -> _Side | None:
        """A side that is connected to an endpoint; None where none of them answers."""
        refused: set[Endpoint] = set()
        for timeout_s in CONNECT_TIMEOUTS_S:
            slow: set[Endpoint] = set()
            while endpoint := self._pick(client, refused | slow):
                try:
                    return await _connected(endpoint, timeout_s)
                except TimeoutError:
                    slow.add(endpoint)
                except OSError:
                    refused.add(endpoint)
            if not slow:
                break
        self._on_refused("no_endpoint")
        return None

    def _pick(self, client: str, failed: Collection[Endpoint]) -> Endpoint | None:
        return self.balancer.pick(client, self._clock.monotonic_s(), failed)

    def abort(self) -> None:
        """End all connections."""
        for side in list(self._open):
            if side.transport is not None:
                side.transport.abort()
