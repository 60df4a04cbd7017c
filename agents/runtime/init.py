"""The first process of every container: starts its program, and leaves nothing behind.

It is forked from the nursery (no exec), so it costs a few pages. With a PID namespace it is
process 1 there and the kernel kills the rest with it; without one it is the subreaper of whatever
its program leaves behind, and kills that itself. It answers one socket, the container's control
socket, whose other end the runtime holds; when that end closes, the container ends.

Control messages are JSON datagrams. To here:
  {"op": "kill", "signal": n}            signal the program
  {"op": "killall"}                      SIGKILL all of the container
  {"op": "exec", "id": n} + 4 fds        run the launch in fd 0 beside the program, on fds 1..3
  {"op": "exec-kill", "id": n}           SIGKILL that one's process group
From here:
  {"ev": "started", "pid": n} or {"ev": "failed", "message": m}    once, first
  {"ev": "exec-started" | "exec-failed" | "exec-exited", "id": n, ...}
  {"ev": "exited", "code": n}            last; nothing of the container lives any more

Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

from agents.runtime import linux
from agents.runtime.launch import Launch, read_launch
from agents.runtime.process_tree import descendants
from agents.runtime.program import StartError, start_program

MESSAGE_BYTES_MAX = 16 * 1024
_KILLED = 128 + signal.SIGKILL


class Init:
    """The event loop of one container's first process."""

    def __init__(self, control: socket.socket, launch: Launch, stdio: tuple[int, int, int]) -> None:
        self._control = control
        self._launch = launch
        self._stdio = stdio
        self._program = 0
        self._executions: dict[int, int] = {}  # pid -> exec id
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> NoReturn:
        """Start the program and serve until it has ended; never returns."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            self._program = start_program(self._launch, self._stdio)
        except StartError as error:
            self._send(ev="failed", message=str(error))
            self._end(None)
        for fd in set(self._stdio):
            os.close(fd)
        self._send(ev="started", pid=self._program)
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(self._wake_read, select.POLLIN)
        while True:
            for fd, _events in poller.poll():
                if fd == self._wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_read, 4096)
                else:
                    self._receive()
            self._reap()

    def _send(self, **message: Any) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:  # the runtime is gone, and so is the reason for this container
            self._kill_all()
            os._exit(1)

    def _receive(self) -> None:
        data, fds, _flags, _address = socket.recv_fds(self._control, MESSAGE_BYTES_MAX, 4)
        if not data:
            self._kill_all()
            os._exit(1)
        message = json.loads(data)
        match message["op"]:
            case "kill":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._program, message["signal"])
            case "killall":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._program, signal.SIGKILL)
            case "exec":
                self._execute(message["id"], fds)
            case "exec-kill":
                for pid, number in self._executions.items():
                    if number == message["id"]:
                        with contextlib.suppress(ProcessLookupError, PermissionError):
                            os.killpg(pid, signal.SIGKILL)

    def _execute(self, number: int, fds: list[int]) -> None:
        launch_fd, stdin, stdout, stderr = fds
        try:
            pid = start_program(read_launch(launch_fd), (stdin, stdout, stderr))
        except StartError as error:
            self._send(ev="exec-failed", id=number, message=str(error))
        else:
            self._executions[pid] = number
            self._send(ev="exec-started", id=number, pid=pid)
        for fd in {stdin, stdout, stderr}:
            os.close(fd)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = exit_code(status)
            if pid == self._program:
                self._end(code)
            elif pid in self._executions:
                self._send(ev="exec-exited", id=self._executions.pop(pid), code=code)

    def _end(self, code: int | None) -> NoReturn:
        self._kill_all()
        for number in self._executions.values():
            self._send(ev="exec-exited", id=number, code=_KILLED)
        if code is not None:
            self._send(ev="exited", code=code)
        os._exit(0)

    def _kill_all(self) -> None:
        """SIGKILL and reap everything below this process; returns when nothing is left."""
        own = os.getpid()
        while True:
            if own == 1:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
            else:
                for pid in descendants(own):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
            try:
                pid, _status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            if pid in self._executions:
                self._send_quietly(ev="exec-exited", id=self._executions.pop(pid), code=_KILLED)

    def _send_quietly(self, **message: Any) -> None:
        with contextlib.suppress(OSError):
            self._control.send(json.dumps(message).encode())


def exit_code(status: int) -> int:
    """What a shell would say: the exit status, or 128 + the signal that ended it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def die_with_parent(parent: int, *, own_namespace: bool) -> None:
    """Have everything of this container end when the nursery dies, however it dies.

    Process 1 of a PID namespace takes the rest along; anyone else must do so itself, so it asks
    for a signal that it can catch.
    """
    if own_namespace:
        linux.set_parent_death_signal(signal.SIGKILL)
        return

    def end(_number: int, _frame: object) -> None:
        for _attempt in range(100):
            pids = descendants(os.getpid())
            if not pids:
                break
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        os._exit(1)

    signal.signal(signal.SIGUSR2, end)
    linux.set_child_subreaper()
    linux.set_parent_death_signal(signal.SIGUSR2)
    if os.getppid() != parent:
        sys.exit(1)
