"""The supervisor's end of the zygote: asks for processes, replaces a zygote that ended."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Final

from kubraft.supervisor import zygote
from kubraft.supervisor.log_file import open_log
from kubraft.supervisor.specs import ProcessSpec

SPAWN_TIMEOUT_S: Final = 20.0  # the first one waits for the imports
_ATTEMPTS: Final = 2


class SpawnError(Exception):
    """A process could not be started."""


class Spawner:
    """Starts processes as children of this one, one at a time.

    Owned by one task; `spawn` is never called twice at once.
    """

    def __init__(self, log_file: Path) -> None:
        """`log_file` takes what the zygote itself has to say."""
        self._log_file = log_file
        self._pid = 0
        self._channel: socket.socket | None = None

    @property
    def pid(self) -> int:
        """The zygote's pid, 0 where there is none."""
        return self._pid

    def open(self) -> None:
        """Start a zygote; it imports while the caller goes on.

        Raises:
            OSError: its log cannot be opened, or there are no more processes.
        """
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        log = open_log(self._log_file)
        command = [sys.executable, "-m", zygote.__name__, str(theirs.fileno()), str(os.getpid())]
        try:
            os.set_inheritable(theirs.fileno(), True)
            self._pid = os.posix_spawn(
                sys.executable,
                command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
            )
        finally:
            theirs.close()
            os.close(log)
        ours.setblocking(False)
        self._channel = ours

    def close(self) -> None:
        """End the zygote. What it has forked lives on."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._pid = 0

    async def spawn(self, spec: ProcessSpec, log_file: Path) -> int:
        """Start `spec` with its output appended to `log_file`.

        Returns:
            The pid of a child of this process, which has to reap it.

        Raises:
            SpawnError: the zygote does not answer.
            OSError: the log cannot be opened.
        """
        message = {
            "title": " ".join((f"kubraft {spec.name}: {spec.module}", *spec.arguments)),
            "module": spec.module,
            "arguments": spec.arguments,
        }
        log = open_log(log_file)
        try:
            for _ in range(_ATTEMPTS):
                pid = await self._ask(json.dumps(message).encode(), log)
                if pid:
                    return pid
                self.open()
        finally:
            os.close(log)
        raise SpawnError(f"cannot start {spec.name}: see {self._log_file}")

    async def _ask(self, message: bytes, log: int) -> int:
        """The new pid, or 0 where the zygote is gone."""
        if self._channel is None:
            return 0
        assert len(message) < zygote.MESSAGE_BYTES_MAX
        loop = asyncio.get_running_loop()
        try:
            socket.send_fds(self._channel, [message], [log])
            async with asyncio.timeout(SPAWN_TIMEOUT_S):
                answer = await loop.sock_recv(self._channel, zygote.MESSAGE_BYTES_MAX)
        except (OSError, TimeoutError):
            return 0
        return int(json.loads(answer)["pid"]) if answer else 0
