"""A small real state machine: it keeps every command, in order, in one file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from store.raft.engine import Command, LogIndex, Term


class Tally:
    """Implements `store.raft.engine.StateMachine`; a command's result is its place in the list."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.commands: list[str] = []
        self.index, self.term = 0, 0
        self._durable = (0, 0)
        if path.exists():
            self._load(path)

    def durable_index(self) -> tuple[LogIndex, Term]:
        return LogIndex(self._durable[0]), Term(self._durable[1])

    def apply(self, commands: Sequence[Command]) -> list[object]:
        results: list[object] = []
        for command in commands:
            assert command.index >= self.index
            self.index, self.term = command.index, command.term
            self.commands.append(command.data.decode())
            results.append(len(self.commands))
        return results

    def persist(self) -> tuple[LogIndex, Term]:
        self._write(self._path)
        self._durable = (self.index, self.term)
        return self.durable_index()

    def persist_soon(self) -> None:
        self.persist()

    def save_snapshot(self, path: Path) -> tuple[LogIndex, Term]:
        path.write_bytes(self._path.read_bytes())
        index, term, _ = json.loads(path.read_bytes())
        return LogIndex(index), Term(term)

    def read_snapshot(self, path: Path) -> object:
        return json.loads(path.read_bytes())

    def install_snapshot(self, path: Path, read: object) -> tuple[LogIndex, Term]:
        assert isinstance(read, list)
        self._take(read)
        self._write(self._path)
        return self.durable_index()

    def _load(self, path: Path) -> None:
        self._take(json.loads(path.read_bytes()))

    def _take(self, state: list[Any]) -> None:
        self.index, self.term, self.commands = state
        self._durable = (self.index, self.term)

    def _write(self, path: Path) -> None:
        temporary = path.with_suffix(".new")
        with temporary.open("w") as file:
            json.dump([self.index, self.term, self.commands], file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
