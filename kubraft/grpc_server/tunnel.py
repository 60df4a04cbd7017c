"""A connection after its upgrade: bytes both ways, and the caller knows what they mean.

One task reads, one writes. Who reads too slowly holds the client up; who writes waits for it.
Source: RFC 9110, section 7.8.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from kubraft.grpc_server.lingering import Lingering

# What may be here unread before the client is held up.
_UNREAD_BYTES_MAX = 256 << 10


class UpgradeError(Exception):
    """This request's connection cannot become a tunnel."""


class Tunnel(asyncio.Protocol):
    """Takes a transport over; `on_end` is called once the connection is gone."""

    def __init__(
        self,
        transport: asyncio.Transport,
        early: bytes,
        on_end: Callable[[Exception | None], None],
    ) -> None:
        """`early`: what the client has sent already."""
        self._transport = transport
        self._on_end = on_end
        self._parts: deque[bytes] = deque((early,) if early else ())
        self._unread = len(early)
        self._whole = transport.is_closing()
        self._lost = self._closed = False
        self._news = asyncio.Event()
        self._gone = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        transport.set_protocol(self)
        transport.resume_reading()

    # asyncio

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._unread += len(data)
        if self._unread > _UNREAD_BYTES_MAX:
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        """A client that says no more may still be told something."""
        self._whole = True
        self._news.set()
        self._gone.set()
        return self._transport.get_extra_info("ssl_object") is None

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._whole = self._lost = True
        self._news.set()
        self._gone.set()
        self._room.set()
        self._on_end(error)

    # For the handler.

    async def read(self) -> bytes:
        """What came since; nothing at the end, and again whenever asked after it."""
        while not self._parts:
            if self._whole:
                return b""
            self._news.clear()
            await self._news.wait()
        data = b"".join(self._parts)
        self._parts.clear()
        if self._unread > _UNREAD_BYTES_MAX and not self._transport.is_closing():
            self._transport.resume_reading()
        self._unread = 0
        return data

    async def wait_lost(self) -> None:
        """Return when the client has said its last, read or not; late where it is held up."""
        await self._gone.wait()

    async def write(self, data: bytes) -> None:
        """Send `data`, once the client has taken most of what was sent before.

        Raises:
            ConnectionError: the client is gone, or this side is closed.
        """
        if self._lost or self._closed or self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)
        await self._room.wait()

    def close(self, last: bytes = b"") -> None:
        """Send what is left and `last`, then end; what still comes is thrown away."""
        if self._closed:
            return
        self._closed = self._whole = True
        self._news.set()
        if not self._transport.is_closing():
            if last:
                self._transport.write(last)
            self._transport.resume_reading()
            Lingering(self._transport, self.connection_lost)
