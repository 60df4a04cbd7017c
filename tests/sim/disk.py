"""A member's disk that loses power: the WAL's real bytes, with a torn or missing end after a crash.

`VirtualDirectory` is the faulty twin of `store.raft.disk.DiskDirectory`. A crash runs the write
that was under way up to a chosen operation and tears that one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from store.raft.engine import Command, LogIndex, Term
from tests.sim.checkers import chain
from tests.sim.leases import MARK, Leases, Stored

_SECTOR = 512


class PowerLossError(Exception):
    """The machine is off."""


class VirtualDirectory:
    """Files in memory; implements `store.raft.disk.Directory`."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.files: dict[str, bytes] = {}
        self._operations_left: int | None = None
        self._rng = random.Random(0)

    def lose_power_after(self, operations: int, rng: random.Random) -> None:
        """Let the operation after so many be torn, and raise PowerLossError."""
        self._operations_left, self._rng = operations, rng

    def power_on(self) -> None:
        self._operations_left = None

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        return self.files[name]

    def create(self, name: str, content: bytes) -> None:
        if self._is_last() and self._rng.random() < 0.5:
            raise PowerLossError  # renamed into place or not: nothing in between
        self.files[name] = content
        self._check()

    def append(self, name: str, data: bytes) -> None:
        if self._is_last():
            data = _torn(data, len(self.files[name]), self._rng)
        self.files[name] += data
        self._check()

    def truncate(self, name: str, size: int) -> None:
        self.files[name] = self.files[name][:size]
        self._check()

    def remove(self, name: str) -> None:
        if not (self._is_last() and self._rng.random() < 0.5):
            del self.files[name]
        self._check()

    def close(self) -> None:
        pass

    def _is_last(self) -> bool:
        return self._operations_left == 0

    def _check(self) -> None:
        if self._operations_left is None:
            return
        if self._operations_left == 0:
            raise PowerLossError
        self._operations_left -= 1


def _torn(data: bytes, offset: int, rng: random.Random) -> bytes:
    """What may be left of an append at `offset`: nothing, all, a prefix, or some of its sectors.

    Where the file had room behind its end, there are zeros for what is missing, and behind it.
    """
    kind = rng.random()
    room = bytes(rng.choice((0, 16, 700))) if kind < 0.4 or kind >= 0.75 else b""
    if kind < 0.25:
        return room
    if kind < 0.4:
        return data + room
    if kind < 0.5:
        return data[: -rng.randint(1, 15)]
    if kind < 0.75:
        return data[: rng.randrange(len(data) + 1)]
    torn = bytearray(data + room)
    for start in range(-(offset % _SECTOR), len(data), _SECTOR):
        if rng.random() < 0.5:
            begin, end = max(start, 0), min(start + _SECTOR, len(data))
            torn[begin:end] = bytes(end - begin)
    return bytes(torn)


@dataclass(frozen=True)
class State:
    """What a state machine has made of the log: position, and a hash over all it applied."""

    index: int = 0
    term: int = 0
    hash: int = 0
    leases: Stored = ()


@dataclass
class Disk:
    """Everything of one member that outlives a crash."""

    wal: VirtualDirectory
    state: State = State()
    # Received snapshots by index and term.
    snapshots: dict[tuple[int, int], State] = field(default_factory=dict)


class VirtualStateMachine:
    """Chains a hash over the commands; only what was persisted is certain to outlive a crash."""

    def __init__(
        self,
        disk: Disk,
        on_apply: Callable[[Command, State], None],
        later: Callable[[Callable[[], object]], object] = lambda action: action(),
    ) -> None:
        """`later` runs what takes a disk's time."""
        self._disk = disk
        self._on_apply = on_apply
        self._later = later
        self.state = disk.state
        self.leases = Leases(disk.state.leases)

    def durable_index(self) -> tuple[LogIndex, Term]:
        return LogIndex(self._disk.state.index), Term(self._disk.state.term)

    def apply(self, commands: list[Command]) -> list[object]:
        results: list[object] = []
        for command in commands:
            result: object = command.index
            leases = self.state.leases
            if command.data.startswith(MARK):
                result = self.leases.apply(command.data, command.index)
                leases = self.leases.stored()
            value = chain(self.state.hash, command.data)
            self.state = State(command.index, command.term, value, leases)
            self._on_apply(command, self.state)
            results.append(result)
        return results

    def persist(self) -> tuple[LogIndex, Term]:
        self._disk.state = self.state
        return self.durable_index()

    def persist_soon(self) -> None:
        self._later(self.persist)

    def install(self, state: State) -> None:
        self.state = self._disk.state = state
        self.leases = Leases(state.leases)
