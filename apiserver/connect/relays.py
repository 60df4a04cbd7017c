"""Connections that were handed on, and bytes relayed since: counted, bounded, and ended at the end.

Neither side is read faster than the other takes. A relay has no time limit and takes no turn from
others: connections are kept alive by TCP.

Source: upstream's UpgradeAwareHandler, for what is said where one fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from apiserver.connect.headers import onward
from apiserver.connect.locations import Location
from kubraft.api.errors import BadRequestError, TooManyRequestsError, UnexplainedError
from kubraft.grpc_server.exchange import Exchange
from kubraft.grpc_server.tunnel import UpgradeError
from kubraft.streaming.dialing import DialError
from kubraft.streaming.relay import Destination, RelayError, relay

# Two descriptors each: no more than leaves room for everybody else.
RELAYS_MAX: Final = 1_000
PATH_SAFE: Final = "/:@!$&'()*+,;=~"
_GAUGE: Final = "apiserver_longrunning_requests"


class Relays:
    """All relays of this server. Used by one event loop."""

    def __init__(self, relays_max: int = RELAYS_MAX) -> None:
        self._max = relays_max
        self._open: Counter[tuple[str, str]] = Counter()
        self._closing = asyncio.Event()

    async def run(
        self, exchange: Exchange, location: Location, what: tuple[str, str], host: str = ""
    ) -> None:
        """Ask the other end to upgrade, and relay; what it refuses with is the client's answer.

        Args:
            what: resource and subresource, for the count.
            host: what the other end is called; else by its address.

        Raises:
            UnexplainedError: it cannot be reached, or does not understand.
            BadRequestError: the client's connection cannot be handed on.
            TooManyRequestsError: as many relays are open as may be.
        """
        backend, path = location.backend, quote(location.path or "/", safe=PATH_SAFE)
        target = f"{path}?{location.query}" if location.query else path
        destination = Destination(*backend.endpoint, target, backend.tls)
        headers = [("host", host or str(backend.endpoint))]
        headers += onward(exchange.request, exchange.peer)
        own = [(name, value) for name, value in headers if name != "content-length"]
        with self._place(what):
            try:
                await relay(exchange, destination, headers=own, until=self._closing)
            except DialError as error:
                raise UnexplainedError(f"error dialing backend: {error}") from error
            except RelayError as error:
                raise UnexplainedError(str(error)) from error
            except UpgradeError as error:
                raise BadRequestError("Upgrade request required") from error

    @contextlib.contextmanager
    def _place(self, what: tuple[str, str]) -> Iterator[None]:
        if self._open.total() >= self._max:
            raise TooManyRequestsError(
                "too many connections are relayed already, please try again later", retry_after_s=1
            )
        self._open[what] += 1
        try:
            yield
        finally:
            self._open[what] -= 1

    def close(self) -> None:
        """End all relays, those that come now at once."""
        self._closing.set()

    def figures(self) -> bytes:
        """What /metrics says of them, under upstream's name."""
        lines = [f"# HELP {_GAUGE} Connections that are relayed", f"# TYPE {_GAUGE} gauge"]
        lines += [
            f'{_GAUGE}{{component="apiserver",group="",resource="{resource}",scope="resource",'
            f'subresource="{subresource}",verb="CONNECT",version="v1"}} {count}'
            for (resource, subresource), count in sorted(self._open.items())
        ]
        return ("\n".join(lines) + "\n").encode()
