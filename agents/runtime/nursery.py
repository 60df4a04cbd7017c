"""The process that forks containers, so that the runtime, full of gRPC's threads, never has to.

It is single-threaded, small (standard library only), and knows three things: how to make the first
process of a container, when one died, and that all of them die with the runtime. Its socket's
closing is the runtime's death; it then kills every container and exits.

Messages are JSON datagrams. To here:
  {"op": "spawn", "id": s} + 5 fds    launch, control socket, stdin, stdout, stderr
  {"op": "kill", "id": s}             SIGKILL a container's first process
From here:
  {"ev": "ready", "isolation": bool, "reason": s}    once, first
  {"ev": "spawned", "id": s, "pid": n} or {"ev": "failed", "id": s, "message": m}
  {"ev": "died", "id": s}
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

from agents.runtime import linux
from agents.runtime.init import MESSAGE_BYTES_MAX, Init, die_with_parent
from agents.runtime.launch import Launch, read_launch
from agents.runtime.process_tree import children, descendants
from agents.runtime.rootfs import Rootfs

_SHARED_BY_NOBODY = linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS


class Nursery:
    """The nursery's event loop."""

    def __init__(self, runtime: socket.socket) -> None:
        self._runtime = runtime
        self._inits: dict[int, str] = {}  # pid -> container id
        self._lodgers: set[int] = set()  # those that are not process 1 of a PID namespace
        self._sandboxes: set[int] = set()  # whose only child is the program that was started
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self, *, isolation: str) -> NoReturn:
        """Serve until the runtime is gone.

        Args:
            isolation: "auto" uses namespaces where they work, "none" never does.
        """
        linux.set_child_subreaper()
        reason = "switched off" if isolation == "none" else isolation_refused()
        self._send(ev="ready", isolation=not reason, reason=reason)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        # Loaded here once, so that no container has to read them, or even may not.
        from agents.runtime.builtin import nginx, pause, web  # noqa: F401, PLC0415

        gc.collect()
        gc.freeze()  # pages of the heap stay shared with every container's first process
        poller = select.poll()
        poller.register(self._runtime, select.POLLIN)
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
            self._runtime.send(json.dumps(message).encode())
        except OSError:
            self._end()

    def _end(self) -> NoReturn:
        """Kill every container; each kills what is its own."""
        for pid in self._inits:
            with contextlib.suppress(ProcessLookupError):
                # Without a namespace of its own a container must clean up by itself: it asked for
                # SIGUSR2 when its parent dies, which is now.
                os.kill(pid, signal.SIGUSR2 if pid in self._lodgers else signal.SIGKILL)
        signal.alarm(5)  # SIGALRM ends this process, whatever a container does
        for pid in list(self._inits):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        os._exit(0)

    def _receive(self) -> None:
        data, fds, _flags, _address = socket.recv_fds(self._runtime, MESSAGE_BYTES_MAX, 5)
        if not data:
            self._end()
        message = json.loads(data)
        if message["op"] == "kill":
            for pid, name in self._inits.items():
                if name == message["id"]:
                    os.kill(pid, signal.SIGKILL)
            return
        try:
            pid = self._spawn(read_launch(os.dup(fds[0])), fds)
        except OSError as error:
            self._send(ev="failed", id=message["id"], message=str(error)[:1000])
        else:
            self._inits[pid] = message["id"]
            self._send(ev="spawned", id=message["id"], pid=pid)
        finally:
            for fd in fds:
                os.close(fd)

    def _spawn(self, launch: Launch, fds: list[int]) -> int:
        stdio = (fds[2], fds[3], fds[4])
        first = None
        if launch.isolated and launch.joins:
            first = next((pid for pid, name in self._inits.items() if name == launch.joins), None)
            if first is None:
                raise OSError("the first process of its PID namespace has ended")
        pid = fork_init(launch, socket.socket(fileno=os.dup(fds[1])), stdio, first)
        if launch.sandbox:
            self._sandboxes.add(pid)
        elif not launch.own_pids:
            self._lodgers.add(pid)
        return pid

    def _reap(self) -> None:
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                break
            self._lodgers.discard(pid)
            self._sandboxes.discard(pid)
            if pid in self._inits:
                self._send(ev="died", id=self._inits.pop(pid))
        # What a container without a namespace left behind when its first process was killed.
        strays = [pid for pid in children(os.getpid()) if pid not in self._inits]
        for first in self._sandboxes:
            for pid in children(first)[1:]:
                strays += [pid, *descendants(pid)]
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def fork_init(
    launch: Launch,
    control: socket.socket,
    stdio: tuple[int, int, int],
    first: int | None = None,
) -> int:
    """Fork the first process of a container; `control` is closed here.

    It is born into the PID namespace of process `first`, where that is given.

    With namespaces it takes two forks: a process can enter a PID namespace only by being born in
    it. The one in between has ended when this returns.

    Raises:
        OSError: no process, or no namespace, could be made.
    """
    parent = os.getpid()
    if not launch.isolated:
        pid = os.fork()
        if pid == 0:
            _first_process(launch, control, stdio, parent, None)
        control.close()
        return pid
    answer_read, answer_write = os.pipe2(os.O_CLOEXEC)
    go_read, go_write = os.pipe2(os.O_CLOEXEC)
    try:
        between = os.fork()
    except OSError:  # too many processes, perhaps for long: nothing may pile up
        for fd in (answer_read, answer_write, go_read, go_write):
            os.close(fd)
        raise
    if between == 0:
        try:
            enter_namespaces(first, own_pids=launch.own_pids)
            pid = os.fork()
            if pid == 0:
                os.close(go_write)
                _first_process(launch, control, stdio, parent, go_read)
            os.write(answer_write, json.dumps({"pid": pid}).encode())
        except OSError as error:
            os.write(answer_write, json.dumps({"error": str(error)}).encode())
        os._exit(0)
    control.close()
    os.close(answer_write)
    os.close(go_read)
    os.waitpid(between, 0)
    with os.fdopen(answer_read, "rb") as file:
        answer = json.loads(os.read(file.fileno(), 4096) or '{"error": "the fork ended early"}')
    with os.fdopen(go_write, "wb") as file:
        if "pid" in answer:
            file.write(b"g")
    if "error" in answer:
        raise OSError(answer["error"])
    pid = answer["pid"]
    return int(pid)


def _first_process(
    launch: Launch,
    control: socket.socket,
    stdio: tuple[int, int, int],
    parent: int,
    go_read: int | None,
) -> NoReturn:
    """In the new process: wait for the one in between to end, build the root, run Init."""
    signal.set_wakeup_fd(-1)
    try:
        if go_read is not None and not os.read(go_read, 1):
            os._exit(1)
        os.setsid()
        # Who is born into another's PID namespace does not see its parent.
        born_elsewhere = launch.isolated and launch.joins
        die_with_parent(0 if born_elsewhere else parent, own_namespace=launch.own_pids)
        _close_others({control.fileno(), *stdio})
        linux.set_process_name("container-init")
        linux.join_cgroups(launch.cgroups)
        if launch.isolated:
            if launch.hostname:
                linux.set_host_name(launch.hostname)
            Rootfs(launch).enter()
        Init(control, launch, stdio).run()
    except OSError as error:
        message = f"{error.filename or 'container'}: {error.strerror or error}"
        with contextlib.suppress(OSError):
            control.send(json.dumps({"ev": "failed", "message": message}).encode())
    except BaseException as error:  # noqa: BLE001 - must never return into the nursery's loop
        with contextlib.suppress(OSError):
            control.send(json.dumps({"ev": "failed", "message": repr(error)[:1000]}).encode())
    os._exit(1)


def _close_others(keep: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))


def enter_namespaces(first: int | None = None, *, own_pids: bool = True) -> None:
    """Leave the host's mount, PID, IPC and UTS namespaces; the children are born outside.

    An ordinary user needs a user namespace for that, in which it keeps its own number.

    Args:
        first: the children are born into this process's PID namespace.
        own_pids: they are born into a new one.
    """
    if first is not None:
        _join(first)
        return
    wanted = _SHARED_BY_NOBODY | (linux.CLONE_NEWPID if own_pids else 0)
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            linux.unshare(wanted)
        except PermissionError:  # root without CAP_SYS_ADMIN
            pass
        else:
            return
    linux.unshare(linux.CLONE_NEWUSER | wanted)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def _join(first: int) -> None:
    """As `first`: its user namespace, without which its PID namespace is not to be had."""
    pids = os.open(f"/proc/{first}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    if os.readlink(f"/proc/{first}/ns/user") != os.readlink("/proc/self/ns/user"):
        users = os.open(f"/proc/{first}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        linux.setns(users, linux.CLONE_NEWUSER)
        os.close(users)
    linux.unshare(_SHARED_BY_NOBODY)
    linux.setns(pids, linux.CLONE_NEWPID)
    os.close(pids)


def isolation_refused() -> str:
    """Why this user may not have namespaces with mounts here; empty where it may."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            enter_namespaces()
            linux.mount("", "/", "", linux.MS_REC | linux.MS_PRIVATE)
            linux.mount("tmpfs", "/proc", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=64k")
        except OSError as error:
            os.write(write, f"{error.filename or 'namespaces'}: {error.strerror}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        reason = file.read().decode()
    os.waitpid(pid, 0)
    return reason


def main(argv: list[str]) -> NoReturn:
    """Entry: the runtime's socket's number, and the isolation wanted."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the runtime decides when this ends
    linux.set_process_name("kubraft-nursery")
    Nursery(socket.socket(fileno=int(argv[0]))).run(isolation=argv[1])


if __name__ == "__main__":
    main(sys.argv[1:])
