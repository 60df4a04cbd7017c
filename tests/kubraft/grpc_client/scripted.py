"""A server whose every frame is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

from hpack import Encoder

from kubraft.grpc_client.channel import Channel, Target
from kubraft.grpc_server import frames as f
from kubraft.grpc_server.guard import Limits

LIMITS = Limits(message_bytes_max=1 << 20, keepalive_interval_s=0)


def channel_to(port: int, limits: Limits = LIMITS) -> Channel:
    return Channel(Target("127.0.0.1", port, f"127.0.0.1:{port}"), limits)


def caller(channel: Channel, name: str = "echo") -> Callable[..., Awaitable[bytes]]:
    return channel.unary_unary(f"/t.T/{name}", bytes, bytes)


class Peer:
    """One connection that a client made."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._encoder = Encoder()

    async def frame(self) -> tuple[int, int, int, bytes]:
        """The next frame: kind, flags, stream, payload."""
        head = await self._reader.readexactly(f.HEAD_BYTES)
        payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    async def until(self, kind: int) -> tuple[int, int, int, bytes]:
        while (found := await self.frame())[0] != kind:
            pass
        return found

    def send(self, *parts: bytes) -> None:
        self._writer.write(b"".join(parts))

    def headers(self, stream: int, *fields: tuple[str, str], end: bool = False) -> bytes:
        flags = f.END_HEADERS | (f.END_STREAM if end else 0)
        return f.frame(f.HEADERS, flags, stream, self._encoder.encode(fields))

    def answer(self, stream: int, data: bytes) -> bytes:
        """A whole good answer."""
        body = b"\0" + len(data).to_bytes(4, "big") + data
        return (
            self.headers(stream, (":status", "200"), ("content-type", "application/grpc"))
            + f.frame(f.DATA, 0, stream, body)
            + self.headers(stream, ("grpc-status", "0"), end=True)
        )

    def close(self) -> None:
        self._writer.transport.abort()


class Scripted:
    """Runs `script` for each connection, once its client has greeted."""

    def __init__(self, script: Callable[[Peer], Awaitable[None]], *, settings: bool = True) -> None:
        self._script = script
        self._settings = settings
        self.port = 0
        self.connections = 0
        self._peers: list[Peer] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for peer in self._peers:
            peer.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        peer = Peer(reader, writer)
        self._peers.append(peer)
        await reader.readexactly(len(f.PREFACE))
        if self._settings:
            peer.send(f.settings({}))
        try:
            await self._script(peer)
            await reader.read()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
