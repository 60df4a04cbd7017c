"""The runtime's end of the nursery and of every container's first process.

Everything here runs in the event loop's thread. The runtime itself never forks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.runtime.leftovers import MARKER

_MESSAGE_BYTES_MAX = 16 * 1024
_START_TIMEOUT_S = 30.0
KILLED_EXIT_CODE = 137
_PACKAGE_ROOT = Path(__file__).resolve().parent.parent.parent


class SpawnError(Exception):
    """A program could not be started; the message is for the user."""


class NurseryGoneError(Exception):
    """The nursery died: no container lives, and none can be started."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """Whether containers get namespaces; `reason` says why not."""

    available: bool
    reason: str


class _Channel:
    """JSON datagrams with descriptors over one socket, read by the event loop."""

    def __init__(
        self,
        end: socket.socket,
        on_message: Callable[[dict[str, Any]], None],
        on_close: Callable[[], None],
    ) -> None:
        end.setblocking(False)
        self._socket = end
        self._on_message = on_message
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end.fileno(), self._receive)

    def send(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Send now; a peer that does not read is as good as dead (BlockingIOError)."""
        socket.send_fds(self._socket, [json.dumps(message).encode()], fds)

    def _receive(self) -> None:
        while self._socket.fileno() >= 0:
            try:
                data = self._socket.recv(_MESSAGE_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                self._on_close()
                return
            self._on_message(json.loads(data))

    def close(self) -> None:
        """Let go of the socket; on_close is not called."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()


class Execution:
    """A program that runs beside a container's own."""

    def __init__(self, container: ContainerProcess, number: int) -> None:
        self._container = container
        self._number = number
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[int] = loop.create_future()
        self.exited: asyncio.Future[int] = loop.create_future()

    def kill(self) -> None:
        """SIGKILL it and its process group."""
        self._container.send({"op": "exec-kill", "id": self._number})


class ContainerProcess:
    """One running container."""

    def __init__(self, container_id: str, nursery: Nursery, end: socket.socket) -> None:
        self._id = container_id
        self._nursery = nursery
        self._channel = _Channel(end, self._on_message, self._on_close)
        self._executions: dict[int, Execution] = {}
        self._last_execution = 0
        loop = asyncio.get_running_loop()
        self.init_pid = 0  # on the host
        self.started: asyncio.Future[int] = loop.create_future()
        self.exited: asyncio.Future[int] = loop.create_future()

    def kill(self, number: int) -> None:
        """Signal the container's program (not its other processes)."""
        self.send({"op": "kill", "signal": int(number)})

    def kill_all(self) -> None:
        """SIGKILL all of the container."""
        self.send({"op": "killall"})

    def destroy(self) -> None:
        """SIGKILL the first process itself, for the case that it does not answer."""
        self._nursery.kill(self._id)

    def send(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Send a control message; one that cannot be sent means that the container ends."""
        with contextlib.suppress(OSError):
            self._channel.send(message, fds)

    def execute(self, fds: tuple[int, int, int, int]) -> Execution:
        """Start a program beside the container's; `fds` are its launch and its three streams."""
        self._last_execution += 1
        execution = Execution(self, self._last_execution)
        self._executions[self._last_execution] = execution
        try:
            self._channel.send({"op": "exec", "id": self._last_execution}, fds)
        except OSError:
            execution.started.set_exception(SpawnError("the container has ended"))
        return execution

    def _on_message(self, message: dict[str, Any]) -> None:
        match message["ev"]:
            case "started":
                self.started.set_result(message["pid"])
            case "failed":
                self.started.set_exception(SpawnError(message["message"]))
            case "exited":
                self.exited.set_result(message["code"])
            case "exec-started":
                self._executions[message["id"]].started.set_result(message["pid"])
            case "exec-failed":
                execution = self._executions.pop(message["id"])
                execution.started.set_exception(SpawnError(message["message"]))
            case "exec-exited":
                execution = self._executions.pop(message["id"])
                execution.exited.set_result(message["code"])

    def _on_close(self) -> None:
        if not self.started.done():
            self.started.set_exception(SpawnError("the container's first process died"))
        elif not self.exited.done() and self.started.exception() is None:
            self.exited.set_result(KILLED_EXIT_CODE)
        for execution in self._executions.values():
            if not execution.started.done():
                execution.started.set_exception(SpawnError("the container has ended"))
            elif not execution.exited.done():
                execution.exited.set_result(KILLED_EXIT_CODE)


class Nursery:
    """Starts containers through the nursery process."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._channel: _Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: asyncio.Future[Isolation] | None = None
        self.gone = asyncio.Event()

    async def start(self, root: str, *, isolation: str = "auto") -> Isolation:
        """Start the nursery process; answers whether containers will be isolated.

        Raises:
            NurseryGoneError: it did not come up.
        """
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Neither site-packages nor the user's environment: a bare interpreter starts in 15 ms.
        code = (
            f"import sys; sys.path.insert(0, {str(_PACKAGE_ROOT)!r}); "
            "from agents.runtime.nursery import main; main(sys.argv[1:])"
        )
        command = [sys.executable, "-I", "-S", "-c", code, str(other.fileno()), isolation]
        self._ready = asyncio.get_running_loop().create_future()
        with other:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - before anything is served
                command,
                env={MARKER: root},
                pass_fds=(other.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._channel = _Channel(own, self._on_message, self._on_close)
        return await asyncio.wait_for(self._ready, _START_TIMEOUT_S)

    async def spawn(self, container_id: str, fds: tuple[int, int, int, int]) -> ContainerProcess:
        """Start a container; `fds` are its launch and its three streams, which stay the caller's.

        Raises:
            SpawnError: it could not be started.
            NurseryGoneError: nothing can be started any more.
        """
        if self._channel is None or self.gone.is_set():
            raise NurseryGoneError("the container supervisor died")
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting[container_id] = waiting
            launch, *stdio = fds
            descriptors = (launch, other.fileno(), *stdio)
            self._channel.send({"op": "spawn", "id": container_id}, descriptors)
        process = ContainerProcess(container_id, self, own)
        try:
            process.init_pid = await waiting
            await asyncio.wait_for(asyncio.shield(process.started), _START_TIMEOUT_S)
        except TimeoutError as error:
            process.destroy()
            raise SpawnError("the container did not start in time") from error
        return process

    def kill(self, container_id: str) -> None:
        """SIGKILL a container's first process."""
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.send({"op": "kill", "id": container_id})

    def _on_message(self, message: dict[str, Any]) -> None:
        assert self._ready is not None
        match message["ev"]:
            case "ready":
                self._ready.set_result(Isolation(message["isolation"], message["reason"]))
            case "spawned":
                self._waiting.pop(message["id"]).set_result(message["pid"])
            case "failed":
                error = SpawnError(message["message"])
                self._waiting.pop(message["id"]).set_exception(error)

    def _on_close(self) -> None:
        assert self._ready is not None
        self.gone.set()
        error = NurseryGoneError("the container supervisor died")
        if not self._ready.done():
            self._ready.set_exception(error)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)
        self._waiting.clear()

    async def stop(self) -> None:
        """Kill every container and the nursery."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)


def new_pipe() -> tuple[int, int]:
    """A pipe whose read end the event loop may read."""
    read, write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read, False)
    return read, write
