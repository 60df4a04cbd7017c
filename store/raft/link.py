"""One member's connection to one peer: dialled again and again, for what goes out to it.

What comes in from the peer arrives on the connection that the peer dials. A link carries frames in
order or not at all: when its buffer is full or it breaks, what it held is gone and the peer counts
as disconnected until the next handshake.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from kubraft.log import get_logger
from store.figures import FIGURES
from store.member_error import cause_of
from store.raft.framing import (
    HELLO_BYTES_MAX,
    PING,
    PONG,
    PURPOSE_RAFT,
    REMOVED,
    FrameError,
    FrameReader,
    Hello,
    frame,
)

log = get_logger("store.raft")

# How long a handshake may take; each that takes too long doubles it, as on a machine so busy that
# none would ever end in the shorter time.
_CONNECT_S = 2.0
_CONNECT_S_MAX = 8.0
_BACKOFF_S_MIN = 0.03
_BACKOFF_S_MAX = 0.5
# A peer that takes nothing holds up to this much before its connection is given up.
BUFFER_BYTES_MAX = 32 << 20
# Beyond this the peer gets heartbeats only.
CONGESTED_BYTES = 2 << 20
# A peer that is there and answers none of so many pings is told of.
UNANSWERED_MAX = 5

# Also where it takes the other certificate for a bad one: TLS 1.3 tells this end late or never.
_CLOSED = "closed by the peer in the handshake; its log says why"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Caller:
    """What a member says of itself when it dials."""

    cluster_id: int
    member_id: int
    tls: ssl.SSLContext | None


def host_and_port(url: str) -> tuple[str, int]:
    """The two parts of a peer URL; the host is empty where it stands for all addresses.

    Raises:
        ValueError: it is not `http://host:port` or `https://host:port`.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.port is None:
        raise ValueError(f"peer URL {url!r} is not http(s)://host:port")
    return parts.hostname or "", parts.port


async def dial(
    caller: Caller, peer: int, url: str, purpose: int, *, patience_s: float = _CONNECT_S
) -> Streams:
    """Connect and shake hands.

    Raises:
        OSError: no connection. FrameError: the peer refuses this member. TimeoutError.
    """
    host, port = host_and_port(url)
    tls = caller.tls if url.startswith("https:") else None
    async with asyncio.timeout(patience_s):
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        try:
            hello = Hello(caller.cluster_id, caller.member_id, peer, purpose)
            writer.write(frame(hello.encode()))
            answers = FrameReader(HELLO_BYTES_MAX)
            payloads: list[bytes] = []
            while not payloads:
                payloads = answers.feed(await reader.read(HELLO_BYTES_MAX))
                if reader.at_eof() and not payloads:
                    raise ConnectionResetError  # noqa: TRY301
        except ConnectionResetError as error:
            writer.transport.abort()
            raise ConnectionResetError(_CLOSED) from error
        except BaseException:
            writer.transport.abort()
            raise
    if payloads[0] != b"\0":
        writer.transport.abort()
        raise FrameError(payloads[0].decode(errors="replace"))
    return reader, writer


class Link:
    """See the module docstring; used on the event loop only."""

    def __init__(
        self,
        caller: Caller,
        peer: int,
        urls: Sequence[str],
        *,
        rng: random.Random,
        on_up: Callable[[int], None],
        on_down: Callable[[int], None],
        on_heard: Callable[[int], None],
        on_removed: Callable[[], None],
    ) -> None:
        self._caller = caller
        self._peer = peer
        self.urls = tuple(urls)
        # The one in use; after a failure the next has its turn.
        self.url = self.urls[0]
        self._rng = rng
        self._on_up, self._on_down, self._on_heard = on_up, on_down, on_heard
        self._on_removed = on_removed
        self._writer: asyncio.StreamWriter | None = None
        self._frames: list[bytes] = []
        self._complaint = ""
        self._unanswered = 0
        # When the sign of life was asked for that has not come yet; 0 for none.
        self._asked_at = 0.0
        self._task = asyncio.create_task(self._run(), name=f"raft link to {peer:x}")

    @property
    def up(self) -> bool:
        return self._writer is not None

    def send(self, payload: bytes) -> None:
        """Queue a frame for the next `flush`; dropped while there is no connection."""
        if self._writer is not None:
            self._frames.append(frame(payload))

    def flush(self) -> None:
        """Write what was queued."""
        if not self._frames:
            return
        frames, self._frames = self._frames, []
        # A connection that has gone takes nothing, a turn of the loop before the link is told.
        if self._writer is None or self._writer.transport.is_closing():
            return
        data = b"".join(frames)
        FIGURES.peer_bytes_sent[self._peer] += len(data)
        self._writer.write(data)
        if self._buffered() > BUFFER_BYTES_MAX:
            log.warning("peer takes nothing, connection dropped", peer=f"{self._peer:x}")
            self.reset()

    def congested(self) -> bool:
        return self._buffered() > CONGESTED_BYTES

    def ping(self) -> None:
        """Ask for a sign of life."""
        if self._writer is None:
            return
        self._unanswered += 1
        if self._unanswered == UNANSWERED_MAX:
            log.warning("peer does not answer", peer=f"{self._peer:x}", url=self.url)
        self._asked_at = self._asked_at or time.perf_counter()
        self.send(PING)
        self.flush()

    def reset(self) -> None:
        """Cut the connection; the link dials again."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _buffered(self) -> int:
        return 0 if self._writer is None else self._writer.transport.get_write_buffer_size()

    async def _run(self) -> None:
        backoff_s, patience_s = _BACKOFF_S_MIN, _CONNECT_S
        while True:
            try:
                reader, writer = await dial(
                    self._caller, self._peer, self.url, PURPOSE_RAFT, patience_s=patience_s
                )
            except (OSError, ValueError) as error:  # a peer URL may be wrong, too
                self._complain(error)
                if isinstance(error, TimeoutError):
                    patience_s = min(2 * patience_s, _CONNECT_S_MAX)
                self.url = self.urls[(self.urls.index(self.url) + 1) % len(self.urls)]
                if isinstance(error, FrameError) and str(error) == REMOVED:
                    self._on_removed()
                await asyncio.sleep(backoff_s * self._rng.uniform(0.5, 1.5))
                backoff_s = min(backoff_s * 2, _BACKOFF_S_MAX)
                continue
            backoff_s, patience_s = _BACKOFF_S_MIN, _CONNECT_S
            await self._use(reader, writer)
            await asyncio.sleep(backoff_s * self._rng.uniform(0.5, 1.5))

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        log.info("peer connected", peer=f"{self._peer:x}", url=self.url)
        self._complaint = ""
        self._unanswered = 0
        self._writer = writer
        self._asked_at = 0.0
        self._on_up(self._peer)
        try:
            while data := await reader.read(HELLO_BYTES_MAX):
                if PONG in data:
                    if self._asked_at:
                        FIGURES.round_trip(self._peer, time.perf_counter() - self._asked_at)
                        self._asked_at = 0.0
                    self._answered()
        except OSError:
            pass  # the log line below says all there is to say
        finally:
            self._writer = None
            self._frames = []
            writer.transport.abort()
            FIGURES.peer_losses[self._peer] += 1
            self._on_down(self._peer)
            log.info("peer disconnected", peer=f"{self._peer:x}")

    def _answered(self) -> None:
        if self._unanswered >= UNANSWERED_MAX:
            log.info("peer answers again", peer=f"{self._peer:x}", url=self.url)
        self._unanswered = 0
        self._on_heard(self._peer)

    def _complain(self, error: Exception) -> None:
        """Log a cause once, not at every attempt."""
        complaint = cause_of(error)
        if complaint != self._complaint:
            self._complaint = complaint
            event = "peer refuses this member" if isinstance(error, FrameError) else "no connection"
            log.warning(event, peer=f"{self._peer:x}", url=self.url, cause=complaint)
