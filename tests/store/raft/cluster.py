"""RaftEngines of one cluster in one process, on real sockets and directories."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from store.raft.config import PeerTls, RaftConfig
from store.raft.engine import EngineError, MemberID, Role
from store.raft.member_engine import RaftEngine
from tests.harness.ports import free_ports
from tests.store.raft.relay import Relay
from tests.store.raft.tally import Tally

DEADLINE_S = 30.0

T = TypeVar("T")


class Cluster:
    """Members 1 to `size`; a member that was stopped or killed can be started again."""

    def __init__(
        self, path: Path, *, size: int = 3, tls: PeerTls | None = None, relayed: bool = False
    ) -> None:
        self._scheme = "https" if tls else "http"
        self._path = path
        self.ids = [MemberID(number) for number in range(1, size + 1)]
        self._ports = dict(zip(self.ids, free_ports(size), strict=True))
        # What the first member says to the second goes through here.
        pairs = [(a, b) for a in self.ids for b in self.ids if relayed and a != b]
        self.relays = {pair: Relay() for pair in pairs}
        self.config = RaftConfig(
            name="store",
            member_id=MemberID(1),
            cluster_id=7,
            peers={member: self._url(port) for member, port in self._ports.items()},
            data_dir=path,
            tls=tls,
            heartbeat_ms=50,
            election_ms=400,
            proposal_timeout_ms=2500,
            compact_entries=100,
            retained_entries=20,
        )
        self.engines: dict[MemberID, RaftEngine] = {}
        self.tallies: dict[MemberID, Tally] = {}

    async def start(self, *members: int) -> None:
        for (_, receiver), relay in self.relays.items():
            if not relay.port:
                await relay.open(self._ports[receiver])
        for member in members or self.ids:
            await self._start(MemberID(member))

    async def stop(self, *members: int) -> None:
        for member in members or list(self.engines):
            engine = self.engines.pop(MemberID(member), None)
            if engine is not None:
                await engine.stop()

    async def close(self) -> None:
        await self.stop()
        for relay in self.relays.values():
            await relay.close()

    def around(self, member: int) -> list[Relay]:
        """The relays of all that `member` says and hears."""
        return [relay for pair, relay in self.relays.items() if member in pair]

    async def crash(self, member: int) -> None:
        """End a member as SIGKILL does: nothing is finished, nothing is made durable."""
        engine = self.engines.pop(MemberID(member))
        engine._failed.set_result(EngineError("killed"))
        await engine.stop()

    async def leader(self) -> MemberID:
        """The leader that all running members agree on."""

        def agreed() -> MemberID | None:
            leaders = {engine.status().leader for engine in self.engines.values()}
            leader = leaders.pop() if len(leaders) == 1 else None
            if leader is None or leader not in self.engines:
                return None
            return leader if self.engines[leader].status().role is Role.LEADER else None

        found = await eventually(agreed)
        assert found is not None
        return found

    def follower(self, leader: int) -> MemberID:
        return next(member for member in self.engines if member != leader)

    async def settled(self) -> list[str]:
        """The commands of all running members, once they are the same."""

        def same() -> bool:
            return len({self.tallies[member].index for member in self.engines}) == 1

        await eventually(same)
        histories = [self.tallies[member].commands for member in self.engines]
        assert all(history == histories[0] for history in histories)
        return histories[0]

    async def _start(self, member: MemberID) -> None:
        directory = self._path / str(member)
        directory.mkdir(exist_ok=True)
        self.tallies[member] = Tally(directory / "state")
        config = replace(
            self.config,
            name=f"store-{member}",
            member_id=member,
            data_dir=directory,
            listen_urls=(self._url(self._ports[member]),),
            detours={b: self._url(r.port) for (a, b), r in self.relays.items() if a == member},
        )
        engine = RaftEngine(config, self.tallies[member])
        await engine.start()
        self.engines[member] = engine

    def _url(self, port: int) -> str:
        return f"{self._scheme}://127.0.0.1:{port}"


async def eventually(probe: Callable[[], T], deadline_s: float = DEADLINE_S) -> T:
    """The first true value of `probe`."""
    ends = time.monotonic() + deadline_s
    while not (value := probe()):
        assert time.monotonic() < ends, "did not happen in time"
        await asyncio.sleep(0.01)
    return value
