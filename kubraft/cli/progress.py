"""Progress of a start: a spinner for a person, plain lines for a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kubraft.cli.terminal import process_terminal

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Says what happens, on standard output."""

    def __init__(self) -> None:
        self._terminal = process_terminal()
        self._status: Status | None = None
        self._total = 0
        self._done = 0

    def say(self, line: str) -> None:
        self._terminal.out(line)

    def ready(self, name: str, after_s: float) -> None:
        """One more is ready."""
        self._done += 1
        mark = self._terminal.paint("ready", "green")
        self.say(f"  {name:<26} {mark} after {after_s:.1f} s")
        if self._status is not None:
            self._status.update(self._text())

    @contextmanager
    def waiting(self, total: int) -> Iterator[None]:
        """Show that something is going on, where a person looks."""
        self._total, self._done = total, 0
        if not self._terminal.colour:
            yield
            return
        from rich.console import Console  # noqa: PLC0415 - only for a person

        with Console().status(self._text()) as status:
            self._status = status
            try:
                yield
            finally:
                self._status = None

    def _text(self) -> str:
        return f"{self._done} of {self._total} ready"
