"""What a client says on one stream, until somebody takes it. Bounded: who puts in, waits."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

BYTES_MAX: Final = 128 << 10


class Inbox:
    """One writer, one reader."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._ended = self._closed = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def full(self) -> bool:
        """Whether who puts in should wait for `room`."""
        return not self._room.is_set()

    def feed(self, data: bytes) -> None:
        """Put in; what comes after the end, or when nobody reads any more, is dropped."""
        if self._ended or self._closed or not data:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > BYTES_MAX:
            self._room.clear()
        self._news.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._news.set()

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._parts.clear()
        self._size = 0
        self._room.set()
        self._news.set()

    async def room(self) -> None:
        """Wait until there is some."""
        await self._room.wait()

    async def read(self) -> bytes:
        """What has come; nothing at the end."""
        while not self._parts:
            if self._ended or self._closed:
                return b""
            self._news.clear()
            await self._news.wait()
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        self._room.set()
        return data
