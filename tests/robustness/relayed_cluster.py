"""A store cluster whose peers reach each other through relays, so that any link can be hurt.

One relay is in front of each member. Whose connection it is the kernel knows, so peers may speak
TLS through it. A direction is hurt on both connections of a pair: a link carries what its caller
says, and signs of life come back on it. Each member has a `Shim` too where there is a compiler.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import grpc

from tests.e2e.store_cluster import StoreCluster
from tests.robustness.shim import Shim, build
from tests.robustness.socket_owner import owner_of

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
    """`open_relays` before `start`, on the event loop that hurts the network."""

    def __init__(
        self,
        directory: Path,
        *,
        members: int = 3,
        spares: int = 0,
        tls: bool = False,
        flags: Iterable[str] = (),
    ) -> None:
        super().__init__(directory, members=members, spares=spares, tls=tls, flags=flags)
        self.founders = self.names
        self.network = Network()
        first = max([*self._client_ports.values(), *self._peer_ports.values()]) + 1
        self._everyone = tuple(self._client_ports)
        self._listen_ports = {name: first + number for number, name in enumerate(self._everyone)}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        library = build()
        self.shims = {
            name: Shim(library, directory / f"{name}.shim", self.data_dir(name))
            for name in self._everyone
            if library
        }

    @property
    def spares(self) -> list[str]:
        """Members that are not there now and could be."""
        return [name for name in self._everyone if name not in self.names]

    def command(self, name: str) -> list[str]:
        command = super().command(name)
        listen = command.index("--listen-peer-urls") + 1
        command[listen] = f"{self.scheme}://127.0.0.1:{self._listen_ports[name]}"
        return command

    def variables(self, name: str) -> dict[str, str]:
        return self.shims[name].environment if name in self.shims else {}

    def answers(self, name: str) -> bool:
        """Whether a member runs and knows a leader."""
        with contextlib.suppress(grpc.RpcError):
            return self.is_running(name) and bool(self.status(name).leader)
        return False

    def last_line(self, name: str) -> str:
        """What a member that ended said last."""
        lines = self.log_file(name).read_text().strip().splitlines()
        return lines[-1] if lines else ""

    def exit_status(self, name: str) -> int:
        """Of a member that ended, or is about to."""
        return self._processes[name].wait(10)

    async def open_relays(self) -> None:
        for name in self._everyone:
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
        # Whoever was accepted just now gets a task first.
        await asyncio.sleep(0.1)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

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
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            await self._relay(called, reader, writer)
        self._tasks.discard(task)
        self.network.discard(writer)
        writer.transport.abort()

    async def _relay(
        self, called: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # What comes first comes when the caller's socket is its own for certain.
        hello = await reader.read(_CHUNK_BYTES)
        ends = (writer.get_extra_info(end)[1] for end in ("peername", "sockname"))
        caller = self.caller_of(*ends)
        if caller is None or not hello:
            return
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

    def caller_of(self, port: int, other_port: int) -> str | None:
        """Whose end of a connection has `port`, where ours has `other_port`."""
        pids = {name: process.pid for name, process in self._processes.items()}
        return owner_of(port, other_port, pids)

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
    return sum(log.read_bytes().count(text.encode()) for log in cluster.directory.glob("*.log"))
