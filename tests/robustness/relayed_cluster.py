"""A store cluster whose peers reach each other through relays, so that any link can be hurt.

Members speak plain text here, and the first frame of a peer connection says who calls, so one
relay in front of each member knows every link. A direction is hurt on both connections of a pair:
a link carries what its caller says, and signs of life come back on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from store.identity import member_id
from store.raft.framing import HELLO_BYTES_MAX, FrameError, FrameReader, decode_hello
from tests.e2e.store_cluster import StoreCluster

_CHUNK_BYTES = 64 << 10


class Hurt(enum.Enum):
    """What becomes of bytes in one direction."""

    # They vanish; the connection ends when the direction heals, as half a frame may be missing.
    LOSE = "lose"
    # They arrive when the direction heals.
    HOLD = "hold"


Direction = tuple[str, str]  # from member, to member


class Network:
    """All directions between members; used on one event loop."""

    def __init__(self) -> None:
        self._hurt: dict[Direction, Hurt] = {}
        self._healed = asyncio.Event()
        self._connections: dict[asyncio.StreamWriter, frozenset[str]] = {}

    def hurt(self, directions: Iterable[Direction], how: Hurt) -> None:
        self._hurt |= dict.fromkeys(directions, how)

    def cut(self, directions: Iterable[Direction]) -> None:
        """Lose what is said and break what is connected."""
        chosen = set(directions)
        self.hurt(chosen, Hurt.LOSE)
        self._abort(chosen)

    def heal(self) -> None:
        lossy = {direction for direction, how in self._hurt.items() if how is Hurt.LOSE}
        self._hurt.clear()
        self._abort(lossy)
        self._healed.set()
        self._healed = asyncio.Event()

    def _abort(self, directions: Iterable[Direction]) -> None:
        pairs = {frozenset(direction) for direction in directions}
        for writer, pair in list(self._connections.items()):
            if pair in pairs:
                writer.transport.abort()

    def add(self, writer: asyncio.StreamWriter, caller: str, called: str) -> None:
        self._connections[writer] = frozenset((caller, called))

    def discard(self, writer: asyncio.StreamWriter) -> None:
        self._connections.pop(writer, None)

    async def admits(self, direction: Direction) -> bool:
        """Whether bytes may pass; waits while they are held."""
        while (how := self._hurt.get(direction)) is Hurt.HOLD:
            await self._healed.wait()
        return how is None


class RelayedCluster(StoreCluster):
    """Without TLS. `open_relays` before `start`, on the event loop that hurts the network."""

    def __init__(self, directory: Path, *, members: int = 3, flags: Iterable[str] = ()) -> None:
        super().__init__(directory, members=members, tls=False, flags=flags)
        self.network = Network()
        first = max([*self._client_ports.values(), *self._peer_ports.values()]) + 1
        self._listen_ports = {name: first + number for number, name in enumerate(self.names)}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._names = {
            member_id((self.peer_url(name),), directory.name): name for name in self.names
        }

    def command(self, name: str) -> list[str]:
        command = super().command(name)
        listen = command.index("--listen-peer-urls") + 1
        command[listen] = f"http://127.0.0.1:{self._listen_ports[name]}"
        return command

    def exit_status(self, name: str) -> int:
        """Of a member that ended, or is about to."""
        return self._processes[name].wait(10)

    async def open_relays(self) -> None:
        for name in self.names:
            self._servers.append(
                await asyncio.start_server(
                    partial(self._serve, name),
                    "127.0.0.1",
                    self._peer_ports[name],
                )
            )

    async def close_relays(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def between(self, one: str, *others: str) -> list[Direction]:
        """Both directions between a member and others."""
        return [*self.away_from(one, *others), *self.towards(one, *others)]

    def away_from(self, one: str, *others: str) -> list[Direction]:
        return [(one, other) for other in others]

    def towards(self, one: str, *others: str) -> list[Direction]:
        return [(other, one) for other in others]

    async def _serve(
        self, called: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(OSError, EOFError, FrameError, asyncio.CancelledError):
            await self._relay(called, reader, writer)
        self._tasks.discard(task)
        self.network.discard(writer)
        writer.transport.abort()

    async def _relay(
        self, called: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        hello = await reader.read(HELLO_BYTES_MAX)
        (payload, *_) = FrameReader(HELLO_BYTES_MAX).feed(hello) or [b""]
        caller = self._names[decode_hello(payload).sender]
        self.network.add(writer, caller, called)
        back, onward = await asyncio.open_connection("127.0.0.1", self._listen_ports[called])
        try:
            ways = (
                self._pass(reader, onward, (caller, called), hello),
                self._pass(back, writer, (called, caller), b""),
            )
            await asyncio.gather(*ways)
        finally:
            onward.transport.abort()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Direction,
        data: bytes,
    ) -> None:
        """Until either side ends, which ends the connection."""
        while data := data or await reader.read(_CHUNK_BYTES):
            if await self.network.admits(direction):
                writer.write(data)
                await writer.drain()
            data = b""
        raise EOFError


def shuffled(names: Iterable[str], rng: random.Random) -> list[str]:
    found = list(names)
    rng.shuffle(found)
    return found


def log_lines(cluster: StoreCluster, text: str) -> int:
    """How often members logged something."""
    return sum(
        cluster.log_file(name).read_bytes().count(text.encode())
        for name in cluster.names
        if cluster.log_file(name).exists()
    )
