"""The end of a connection whose client still sends.

A socket that is closed with bytes unread is reset, and what was sent last is lost with it. So our
side is closed first, and what comes is thrown away for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_TIME_S = 1.0
_BYTES_MAX = 1 << 20


def close(transport: asyncio.Transport) -> None:
    """Close it, once: asyncio's TLS forgets at the second call what it would have to abort."""
    if not transport.is_closing():
        transport.close()


class Lingering(asyncio.Protocol):
    """Takes a transport over to close it; `on_end` is the former protocol's."""

    def __init__(
        self, transport: asyncio.Transport, on_end: Callable[[Exception | None], None]
    ) -> None:
        self._transport = transport
        self._on_end = on_end
        self._left = _BYTES_MAX
        self._timer = asyncio.get_running_loop().call_later(_TIME_S, close, transport)
        transport.set_protocol(self)
        if transport.can_write_eof():
            transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            close(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        self._on_end(error)
