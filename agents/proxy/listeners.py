"""The sockets that are open: one for each front that somebody is behind.

A front without endpoints has no socket, so that its clients are refused at once by the kernel, as
upstream's rules reject them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agents.proxy.balancer import Balancer
from agents.proxy.fronts import Backends, Front
from agents.proxy.tcp_relay import Room, TcpRelay
from agents.proxy.udp_relay import UdpRelay
from kubraft.api.time import Clock

_BACKLOG = 512
# Through all fronts together, where the caller knows of no other bound.
CONNECTIONS_MAX = 16_384


@dataclass(slots=True)
class _Listener:
    relay: TcpRelay | UdpRelay
    close: Callable[[], None]  # no new connections; those of TCP live on


class Listeners:
    """Opens and closes sockets until they are those of the table."""

    def __init__(
        self,
        clock: Clock,
        connections_max: int = CONNECTIONS_MAX,
        on_refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Connections beyond `connections_max` are reset; `on_refused` hears why any is."""
        self._clock = clock
        self._room = Room(connections_max)
        self._on_refused = on_refused
        self._open: dict[Front, _Listener] = {}
        self._relays: list[TcpRelay] = []  # closed fronts, whose connections live on

    @property
    def fronts(self) -> frozenset[Front]:
        """What clients can connect to now."""
        return frozenset(self._open)

    @property
    def connection_count(self) -> int:
        """TCP connections that are carried, those of fronts that are gone among them."""
        return self._room.count

    def relay(self, front: Front) -> TcpRelay | UdpRelay:
        """What carries that front's connections."""
        return self._open[front].relay

    async def apply(self, table: Mapping[Front, Backends]) -> dict[Front, str]:
        """Make it so; what could not be opened comes back, with the cause.

        Connections that are open stay so, even where their front or endpoint is gone: a Pod that
        ends finishes what it has begun.
        """
        wanted = {front: backends for front, backends in table.items() if backends.endpoints}
        for front in [front for front in self._open if front not in wanted]:
            self._open.pop(front).close()
        failed: dict[Front, str] = {}
        for front, backends in wanted.items():
            listener = self._open.get(front)
            if listener is not None:
                if listener.relay.balancer.backends != backends:
                    listener.relay.balancer.replace(backends)
                continue
            try:
                self._open[front] = await self._listen(front, Balancer(backends))
            except OSError as error:
                failed[front] = os.strerror(error.errno) if error.errno else str(error)
        return failed

    def close(self) -> None:
        """Close all sockets and end all connections."""
        for listener in self._open.values():
            listener.close()
        for relay in self._relays:
            relay.abort()
        self._open.clear()
        self._relays.clear()

    async def _listen(self, front: Front, balancer: Balancer) -> _Listener:
        loop = asyncio.get_running_loop()
        if front.protocol == "UDP":
            udp = UdpRelay(balancer, self._clock)
            await loop.create_datagram_endpoint(lambda: udp, (front.address, front.port))
            return _Listener(udp, udp.close)
        relay = TcpRelay(balancer, self._clock, self._room, self._on_refused)
        server = await loop.create_server(
            relay.factory(), front.address, front.port, backlog=_BACKLOG, reuse_address=True
        )

        def close() -> None:
            server.close()
            self._relays = [each for each in self._relays if each.connection_count]
            if relay.connection_count:
                self._relays.append(relay)

        return _Listener(relay, close)
