"""The supervisor's socket: one JSON object a line in, one out.

    {"command": "status"}                 {"pid": 7, "processes": [{"name", "pid", "state", ...}]}
    {"command": "kill", "name": "x"}      {"names": ["x", ...]}
    {"command": "start", "name": "x"}     {"names": ["x", ...]}
    {"command": "reload"}                 {"names": [started ...], "gone": [...]}, by cluster.json
    {"command": "down"}                   {"names": [...]} once all have ended
    anything that fails                   {"error": "one line"}

The socket is the user's alone. Lines, clients and waiting are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

LINE_BYTES_MAX: Final = 256 << 10
CLIENTS_MAX: Final = 16
REQUEST_TIMEOUT_S: Final = 10.0
# `down` waits for every process, stage by stage.
ANSWER_TIMEOUT_S: Final = 90.0
CLOSE_TIMEOUT_S: Final = 2.0

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class ControlError(Exception):
    """The supervisor refused or does not answer; the message is one line for the user."""


class ControlServer:
    """Answers clients with what `handler` returns, until closed."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._clients = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen.

        Raises:
            OSError: the socket cannot be made.
        """
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(
            self._serve, self._path, limit=LINE_BYTES_MAX, backlog=CLIENTS_MAX
        )
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Listen no more, and let those who still wait for an answer have it."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._idle.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        self._idle.clear()
        try:
            with contextlib.suppress(OSError, TimeoutError):
                answer = await self._answer(reader)
                writer.write(json.dumps(answer).encode() + b"\n")
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    await writer.drain()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        finally:
            writer.close()
            self._clients -= 1
            if not self._clients:
                self._idle.set()

    async def _answer(self, reader: asyncio.StreamReader) -> dict[str, Any]:
        if self._clients > CLIENTS_MAX:
            return {"error": f"the supervisor has {CLIENTS_MAX} clients already"}
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                request = json.loads(await reader.readline())
        except ValueError:
            return {"error": "not a JSON object in one line"}
        if not isinstance(request, dict):
            return {"error": "not a JSON object in one line"}
        try:
            return await self._handler(request)
        except ControlError as error:
            return {"error": str(error)}


def ask(path: Path, command: str, *, name: str = "") -> dict[str, Any]:
    """Send one command and wait for its answer.

    Raises:
        ControlError: the supervisor refused, or does not answer.
    """
    request = json.dumps({"command": command, **({"name": name} if name else {})})
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ANSWER_TIMEOUT_S)
            client.connect(str(path))
            client.sendall(request.encode() + b"\n")
            with client.makefile("rb") as lines:
                line = lines.readline(LINE_BYTES_MAX)
    except TimeoutError as error:
        message = f"the supervisor did not answer `{command}` within {ANSWER_TIMEOUT_S:.0f} s"
        raise ControlError(message) from error
    except OSError as error:
        raise ControlError(f"the supervisor does not answer: {error.strerror or error}") from error
    if not line:
        raise ControlError(f"the supervisor ended while it was asked to `{command}`")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise ControlError(answer["error"])
    return answer
