"""A connection whose protocol is not known yet: its first bytes tell.

gRPC's clients begin with the preface of HTTP/2, everything else is taken for HTTP/1.1. Over TLS
the client has chosen by ALPN, and says the same again with its first bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from kubraft.grpc_server.frames import PREFACE
from kubraft.grpc_server.lingering import close

# A client has so long to say something.
_SILENCE_S = 30.0
# As much of the preface as tells it from any request of HTTP/1.1.
_TELLING = PREFACE[:14]


class Opening(asyncio.Protocol):
    """Becomes what `make` makes once the connection is there.

    A TLS handshake that fails never tells its protocol: nothing may be counted, or kept, before.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol]) -> None:
        self._make = make

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        protocol = self._make()
        cast("asyncio.Transport", transport).set_protocol(protocol)
        protocol.connection_made(transport)


class Sniffer(asyncio.Protocol):
    """Hands its transport to what `choose` makes; `on_end` is called if it never does."""

    def __init__(
        self, choose: Callable[[bool], asyncio.Protocol], on_end: Callable[[Sniffer], None]
    ) -> None:
        self._choose = choose
        self._on_end = on_end
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_SILENCE_S, close, self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._timer.cancel()
        self._on_end(self)

    def data_received(self, data: bytes) -> None:
        self._data += data
        is_http2 = self._data.startswith(_TELLING)
        if not is_http2 and _TELLING.startswith(self._data):
            return
        self._timer.cancel()
        self._on_end(self)
        protocol = self._choose(is_http2)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(self._data)

    # The life of a connection, as its server sees it.

    def leave(self) -> None:
        close(self.transport)

    def running(self) -> list[asyncio.Task[None]]:
        return []

    def cut(self) -> None:
        close(self.transport)

    def abort(self) -> None:
        self.transport.abort()
