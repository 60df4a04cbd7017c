"""The peer port: who may speak, and what they say until the connection ends.

A malformed frame ends the connection it came on with one log line at most, and nothing else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from kubraft.log import get_logger
from store.figures import FIGURES
from store.raft.codec import decode, encode_voters
from store.raft.complaints import Complaints
from store.raft.framing import (
    BOOTSTRAPPED,
    HELLO_BYTES_MAX,
    PING,
    PONG,
    PURPOSE_FIRST_START,
    PURPOSE_MEMBERS,
    PURPOSE_QUESTION,
    PURPOSE_RAFT,
    REMOVED,
    FrameError,
    FrameReader,
    Hello,
    decode_hello,
    frame,
    refusal,
)
from store.raft.link import host_and_port
from store.raft.membership import Members, was_removed
from store.raft.messages import InstallSnapshot, Message
from store.raft.questions import Answer, respond_to

log = get_logger("store.raft")

_HANDSHAKE_S_MAX = 5.0
_READ_BYTES = 256 << 10

TakeSnapshot = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class PeerServer:
    """Listens for peers; used on the event loop only."""

    def __init__(
        self,
        *,
        cluster_id: int,
        member_id: int,
        frame_bytes_max: int,
        members: Callable[[], Members],
        published: Callable[[int], bool],
        on_messages: Callable[[int, list[Message]], None],
        on_heard: Callable[[int], None],
        take_snapshot: TakeSnapshot,
        respond: Answer,
    ) -> None:
        self._cluster_id = cluster_id
        self._member_id = member_id
        self._frame_bytes_max = frame_bytes_max
        self._members = members
        self._published = published
        # Members that have spoken to this one since its start: all of them have a log on disk.
        self._met: set[int] = set()
        self._on_messages = on_messages
        self._on_heard = on_heard
        self._take_snapshot = take_snapshot
        self._respond = respond
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaking: dict[int, asyncio.StreamWriter] = {}
        self._servers: list[asyncio.Server] = []
        self._closed = False
        self._complaints = Complaints()

    async def listen(self, url: str, tls: ssl.SSLContext | None) -> None:
        """Begin to listen, at one more address.

        Raises:
            OSError: the address is taken or not ours; `filename` is the URL.
        """
        host, port = host_and_port(url)
        try:
            server = await asyncio.start_server(
                self._serve, host or None, port, ssl=tls, limit=_READ_BYTES
            )
        except OSError as error:
            raise OSError(error.errno, error.strerror, url) from error
        self._servers.append(server)

    def hang_up(self, peer: int) -> None:
        """Cut the connection of a member that was removed; it is refused from now on."""
        writer = self._speaking.get(peer)
        if writer is not None:
            writer.transport.abort()

    async def close(self) -> None:
        self._closed = True
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:  # it was in the middle of its TLS handshake when this server closed
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        address = writer.get_extra_info("peername")
        try:
            await self._talk(reader, writer)
        except (FrameError, ValueError) as error:
            self._complain(address, str(error))
        except (OSError, asyncio.IncompleteReadError) as error:
            log.debug("peer connection lost", address=str(address), cause=str(error))
        except asyncio.CancelledError:
            pass  # `close` ends what it cancels; the stream server would report it as unhandled
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    def _complain(self, address: tuple[str, ...] | None, cause: str) -> None:
        host = address[0] if address else "unknown"
        if self._complaints.is_new((host, cause), now=asyncio.get_running_loop().time()):
            log.warning("peer connection refused", host=host, cause=cause)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HANDSHAKE_S_MAX):
            hello = await self._shake_hands(reader, writer)
        if hello is None:
            return
        if hello.purpose == PURPOSE_MEMBERS:
            answer = b"\0" + self._cluster_id.to_bytes(8, "little")
            writer.write(frame(answer + encode_voters(self._members())))
            await writer.drain()
            writer.close()
            return
        if hello.purpose == PURPOSE_FIRST_START:
            known = hello.cluster_id == self._cluster_id and self._has_taken_part(hello.sender)
            writer.write(frame(BOOTSTRAPPED.encode() if known else b"\0"))
            await writer.drain()
            writer.close()
            return
        self._meet(hello.sender)
        if hello.purpose == PURPOSE_QUESTION:
            await respond_to(reader, writer, self._respond)
            return
        if hello.purpose != PURPOSE_RAFT:
            await self._take_snapshot(hello.sender, reader, writer)
            return
        # What an older connection of this peer still holds must not come in behind this one.
        older = self._speaking.get(hello.sender)
        if older is not None:
            older.transport.abort()
        self._speaking[hello.sender] = writer
        try:
            await self._listen_to(hello.sender, reader, writer)
        finally:
            if self._speaking.get(hello.sender) is writer:
                del self._speaking[hello.sender]

    def _meet(self, peer: int) -> None:
        if peer in self._members():  # or strangers could fill the memory
            self._met.add(peer)

    def _has_taken_part(self, peer: int) -> bool:
        return peer in self._met or self._published(peer)

    async def _shake_hands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Hello | None:
        frames = FrameReader(HELLO_BYTES_MAX)
        size = await reader.readexactly(4)
        length = int.from_bytes(size, "little")
        if not 0 < length <= HELLO_BYTES_MAX:
            raise FrameError(f"first frame of {length} bytes")
        (payload,) = frames.feed(size + await reader.readexactly(length))
        try:
            hello = decode_hello(payload)
            cause = refusal(hello, cluster_id=self._cluster_id, member_id=self._member_id)
            if was_removed(self._members(), hello.sender):
                cause = REMOVED
        except FrameError as error:
            cause = str(error)
        if cause:
            writer.write(frame(cause.encode()))
            await writer.drain()
            writer.close()
            raise FrameError(cause)
        if hello.purpose not in (PURPOSE_MEMBERS, PURPOSE_FIRST_START):
            writer.write(frame(b"\0"))
        return hello

    async def _listen_to(
        self, peer: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        frames = FrameReader(self._frame_bytes_max)
        while data := await reader.read(_READ_BYTES):
            FIGURES.peer_bytes_received[peer] += len(data)
            if self._speaking.get(peer) is not writer:
                return
            messages: list[Message] = []
            for payload in frames.feed(data):
                if payload == PING:
                    writer.write(frame(PONG))
                    continue
                message = decode(payload)
                if isinstance(message, InstallSnapshot):
                    raise FrameError("snapshot offered without its file")
                messages.append(message)
            self._on_heard(peer)
            if messages:
                self._on_messages(peer, messages)
