"""Runs a program of the machine for its answer, bounded in time and words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence


class ProgramError(Exception):
    """It cannot be run, took too long, or failed; the message is its own, in one line."""


async def run_program(
    command: Sequence[str],
    arguments: Sequence[str],
    *,
    stdin: str | None = None,
    timeout_s: float,
    message_chars_max: int,
) -> bytes:
    """What it writes to standard output.

    Args:
        command: the program last; before it what enters a namespace, say.
        arguments: the program's.
        stdin: what it reads; nothing where None.
        timeout_s: after which it is killed.
        message_chars_max: how much is kept of what it says on standard error.

    Raises:
        ProgramError: it cannot be run, takes too long, or its status is not 0.
    """
    name = command[-1]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise ProgramError(f"{name} cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout_s):
            out, said = await process.communicate(None if stdin is None else stdin.encode())
    except TimeoutError as error:
        raise ProgramError(f"{name} did not end within {timeout_s:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        message = " ".join(said.decode(errors="replace").split())
        raise ProgramError(message[:message_chars_max])
    return out
