"""A client's streams over one upgraded connection, each with a number; WebSocket or SPDY.

One task runs the link: it reads, and fills the inboxes. Others send. A client that is gone ends all
inboxes and sets `gone`.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol

from agents.runtime.streaming.inbox import Inbox
from kubraft.streaming.channels import ChannelError, Channels, Ended, Said
from kubraft.streaming.spdy import session as spdy
from kubraft.streaming.spdy.frames import Reset, SpdyError
from kubraft.streaming.websocket import WebSocket, WebSocketError


class Pipe(Protocol):
    """Bytes both ways: a `Tunnel`, or one inside of a WebSocket."""

    async def read(self) -> bytes:
        """What came; nothing at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send, once there is room; ConnectionError where the client is gone."""
        ...

    def close(self, last: bytes = b"") -> None:
        """Send what is left and `last`, and end."""
        ...

    async def wait_lost(self) -> None:
        """Return when the client is known to be gone."""
        ...


class Link(ABC):
    """What both protocols have in common."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.inboxes: dict[int, Inbox] = {}
        self.gone = asyncio.Event()
        # Where the error stream has a Status rather than text.
        self.has_status = True

    async def run(self) -> None:
        """Read until the client goes, or breaks the protocol."""
        try:
            while data := await self._pipe.read():
                with contextlib.suppress(ConnectionError):
                    if not await self._receive(data):
                        break
        finally:
            self.gone.set()
            for inbox in self.inboxes.values():
                inbox.end()

    async def over(self, *tasks: asyncio.Task[None]) -> None:
        """Return when the client is gone, or all of `tasks` have ended."""
        going = asyncio.create_task(self.gone.wait())
        try:
            pending: set[asyncio.Task[Any]] = set(tasks)
            while pending and not going.done():
                _done, rest = await asyncio.wait(
                    {*pending, going}, return_when=asyncio.FIRST_COMPLETED
                )
                pending = rest - {going}
        finally:
            going.cancel()

    @abstractmethod
    async def _receive(self, data: bytes) -> bool:
        """Act on what came; False where it was the last."""

    async def _deliver(self, number: int, data: bytes) -> None:
        """Hand it to whoever reads that stream, and wait until it has room for more."""
        inbox = self.inboxes.get(number)
        if inbox is None:
            return
        inbox.feed(data)
        if inbox.full:
            await _first(inbox.room(), self._pipe.wait_lost())

    def _end(self, number: int) -> None:
        inbox = self.inboxes.get(number)
        if inbox is not None:
            inbox.end()

    @abstractmethod
    async def send(self, number: int, data: bytes) -> None:
        """Say `data`; ConnectionError where the client is gone or wants no more of it."""

    @abstractmethod
    async def finish(self, number: int) -> None:
        """Say no more on a stream."""

    @abstractmethod
    def close(self) -> None:
        """Say that this is the end, and end."""


class WebSocketLink(Link):
    """Channels of a WebSocket; the inboxes are those that are read, and are given."""

    def __init__(self, pipe: Pipe, protocol: str, read: Iterable[int]) -> None:
        super().__init__(pipe)
        self._frames = WebSocket()
        self._channels = Channels(protocol)
        self.has_status = self._channels.has_status
        self.inboxes = {channel: Inbox() for channel in read}

    async def _receive(self, data: bytes) -> bool:
        try:
            for part in self._frames.receive(data):
                for event in self._channels.receive(part):
                    if isinstance(event, Said):
                        await self._deliver(event.channel, event.data)
                    elif isinstance(event, Ended):
                        self._end(event.channel)
        except (WebSocketError, ChannelError) as error:
            self._frames.fail(str(error))
            await self._flush()
            return False
        await self._flush()
        return not self._frames.closed

    async def _flush(self) -> None:
        if out := self._frames.take():
            await self._pipe.write(out)

    async def send(self, number: int, data: bytes) -> None:
        message = self._channels.message(number, data)
        if not self._frames.send(message, text=self._channels.text):
            raise ConnectionResetError("the client is gone")
        await self._flush()

    async def finish(self, number: int) -> None:
        """There is no such thing as the end of a channel towards the client."""

    def close(self) -> None:
        self._frames.close()
        self._pipe.close(self._frames.take())


class SpdyLink(Link):
    """Streams of SPDY, as the client opens them."""

    def __init__(
        self,
        pipe: Pipe,
        opened: Callable[[int, Mapping[str, str]], bool],
        *,
        has_status: bool,
        cancelled: Callable[[int], None] = lambda _stream: None,
    ) -> None:
        """`opened` is told of each new stream, and says whether it is wanted."""
        super().__init__(pipe)
        self._session = spdy.Session()
        self._opened = opened
        self._cancelled = cancelled
        self.has_status = has_status

    async def _receive(self, data: bytes) -> bool:
        try:
            for event in self._session.receive(data):
                match event:
                    case spdy.Opened(stream, headers):
                        self._open(stream, headers)
                    case spdy.Received(stream, part):
                        await self._flush()
                        await self._deliver(stream, part)
                    case spdy.Finished(stream):
                        self._end(stream)
                    case spdy.Cancelled(stream):
                        self._end(stream)
                        self._cancelled(stream)
                    case spdy.GoneAway():
                        pass  # the streams that there are go on
        except SpdyError:
            await self._flush()
            return False
        await self._flush()
        return True

    def _open(self, stream: int, headers: Mapping[str, str]) -> None:
        self.inboxes[stream] = Inbox()
        if self._opened(stream, headers):
            self._session.reply(stream)
        else:
            del self.inboxes[stream]
            self._session.reset(stream, Reset.REFUSED_STREAM)

    async def _flush(self) -> None:
        if out := self._session.take():
            await self._pipe.write(out)

    async def send(self, number: int, data: bytes) -> None:
        if data and not self._session.send(number, data):
            raise ConnectionResetError("the stream is gone")
        await self._flush()

    async def finish(self, number: int) -> None:
        self._session.finish(number)
        await self._flush()

    def finish_soon(self, number: int) -> None:
        """As `finish`, where what came is being acted on: it goes out after that."""
        self._session.finish(number)

    def forget(self, number: int) -> None:
        """Nobody reads that stream any more."""
        inbox = self.inboxes.pop(number, None)
        if inbox is not None:
            inbox.close()

    def close(self) -> None:
        self._session.go_away()
        self._pipe.close(self._session.take())


class WebSocketPipe:
    """Bytes in a WebSocket's messages, however they are cut: SPDY inside of it."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._frames = WebSocket()

    async def read(self) -> bytes:
        """What came; nothing at the end, or where the client breaks the protocol."""
        while not self._frames.closed:
            data = await self._pipe.read()
            if not data:
                return b""
            try:
                found = b"".join(part.data for part in self._frames.receive(data))
            except WebSocketError:
                found = b""
            with contextlib.suppress(ConnectionError):
                await self._flush()
            if found:
                return found
        return b""

    async def _flush(self) -> None:
        if out := self._frames.take():
            await self._pipe.write(out)

    async def write(self, data: bytes) -> None:
        if not self._frames.send(data):
            raise ConnectionResetError("the client is gone")
        await self._flush()

    def close(self, last: bytes = b"") -> None:
        if last:
            self._frames.send(last)
        self._frames.close()
        self._pipe.close(self._frames.take())

    async def wait_lost(self) -> None:
        await self._pipe.wait_lost()


async def _first(*waits: Coroutine[Any, Any, None]) -> None:
    """Return when one of them has, and leave the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
