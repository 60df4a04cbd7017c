"""Tells the story: a heading, a command with what it printed, a claim with what was measured."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kubraft.cli.terminal import Terminal

T = TypeVar("T")


class ClaimError(Exception):
    """Something that the story says did not hold."""


class Narrator:
    """Writes to a terminal, and runs the commands that the story shows."""

    def __init__(self, terminal: Terminal, environment: dict[str, str]) -> None:
        self._terminal = terminal
        self._environment = environment
        self._began_s = time.monotonic()
        self.claims = 0

    def chapter(self, title: str) -> None:
        elapsed_s = time.monotonic() - self._began_s
        self._terminal.out("")
        self._terminal.out(self._terminal.paint(f"## {title}  [{elapsed_s:.0f} s]", "bold"))

    def say(self, line: str) -> None:
        self._terminal.out(f"   {line}")

    def holds(self, claim: str) -> None:
        """A claim that was checked."""
        self.claims += 1
        self._terminal.out(f" {self._terminal.paint('ok', 'green')} {claim}")

    def check(self, holds: object, claim: str, otherwise: str) -> None:
        """Say `claim` where it holds.

        Raises:
            ClaimError: it does not; the message is `otherwise`.
        """
        if not holds:
            raise ClaimError(f"not so: {claim}: {otherwise}")
        self.holds(claim)

    async def command(
        self, *words: str, stdin: str = "", quiet: bool = False, silent: bool = False
    ) -> str:
        """Run `kubraft WORDS`, shown as a person types it; `quiet` without what it writes.

        Returns:
            What it wrote to standard output.

        Raises:
            ClaimError: it failed.
        """
        shown = " ".join(words)
        if not silent:
            self._terminal.out(self._terminal.paint(f" $ kubraft {shown}", "cyan"))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from kubraft.cli import main; main()",
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
        )
        output, _ = await process.communicate(stdin.encode())
        text = output.decode()
        if not quiet or process.returncode:
            for line in text.splitlines():
                self._terminal.out(self._terminal.paint(f"   {line}", "dim"))
        if process.returncode:
            raise ClaimError(f"`kubraft {shown}` ended with status {process.returncode}")
        return text


async def until(
    condition: Callable[[], Awaitable[T]], what: str, *, timeout_s: float
) -> tuple[T, float]:
    """What `condition` gives once it is true, and after how many seconds.

    Raises:
        ClaimError: it was not within `timeout_s`.
    """
    began_s = time.monotonic()
    while not (value := await condition()):
        if time.monotonic() - began_s > timeout_s:
            raise ClaimError(f"not within {timeout_s:.0f} s: {what}")
        await asyncio.sleep(0.05)
    return value, time.monotonic() - began_s
