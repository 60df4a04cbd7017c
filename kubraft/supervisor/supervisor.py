"""The loop that starts, reaps, restarts, kills and stops a cluster's processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from kubraft.home import Home, HomeError
from kubraft.log import get_logger
from kubraft.supervisor.child import Child, State
from kubraft.supervisor.control import ControlError, ControlServer
from kubraft.supervisor.linux import become_subreaper
from kubraft.supervisor.log_file import rotate
from kubraft.supervisor.spawner import Spawner, SpawnError
from kubraft.supervisor.specs import ProcessSpec, Stage, companions

STOP_TIMEOUT_S: Final = 10.0  # of one stage, before SIGKILL
KILL_TIMEOUT_S: Final = 5.0
HOUSEKEEPING_S: Final = 5.0

log = get_logger("supervisor")


class Supervisor:
    """Owns every process of a cluster, from `run` until a signal or `down` ends it.

    All state belongs to the event loop's task that runs it; the control socket's handlers only
    change what is wanted, and wait for it to come true.
    """

    def __init__(
        self,
        home: Home,
        specs: Sequence[ProcessSpec],
        *,
        until_pid: int = 0,
        reread: Callable[[], Sequence[ProcessSpec]] | None = None,
    ) -> None:
        """`until_pid`: a process whose end stops everything, so that no test leaves a cluster.

        `reread` says which processes there should be now; raises HomeError.
        """
        self._reread = reread
        self._until_pid = until_pid
        self._home = home
        self._specs = {spec.name: spec for spec in specs}
        self._children = {spec.name: Child(spec.name) for spec in specs}
        self._log_offsets = dict.fromkeys(self._specs, 0)
        self._spawner = Spawner(home.log("supervisor"))
        self._spawning = asyncio.Lock()
        self._unclaimed: dict[int, int] = {}  # exits of pids that a spawn has not named yet
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()

    async def run(self, on_listening: Callable[[], None]) -> None:
        """Start everything, keep it running, and stop it when told to.

        Args:
            on_listening: called once commands are taken.

        Raises:
            OSError: the control socket or a log cannot be made.
        """
        become_subreaper()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_soon)
        if self._until_pid:
            owner = os.pidfd_open(self._until_pid)
            loop.add_reader(owner, self._owner_ended, owner)
        self._spawner.open()
        control = ControlServer(self._home.control_socket, self._answer)
        await control.open()
        on_listening()
        log.info("supervising", processes=len(self._specs))
        try:
            await self._start(self._specs.values())
            while not self._stop.is_set():
                self._wake.clear()  # before looking: what happens while processes start counts
                await self._restart_due()
                await self._pause()
        finally:
            await self._stop_all()
            await control.close()
            self._spawner.close()
        log.info("stopped")

    # What the control socket asks for.

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("command"):
            case "status":
                return {"pid": os.getpid(), "processes": [*map(self._view, self._specs)]}
            case "kill":
                return {"names": await self._kill(self._named(request))}
            case "start":
                down = [s for s in self._named(request) if not self._children[s.name].is_alive]
                await self._start(down)
                return {"names": [spec.name for spec in down]}
            case "reload":
                return await self._reload()
            case "down":
                self._stop_soon()
                await self._until_ended(self._specs, STOP_TIMEOUT_S * (len(Stage) + 1))
                return {"names": list(self._specs)}
        raise ControlError(f"no command {request.get('command')!r}")

    def _named(self, request: dict[str, Any]) -> list[ProcessSpec]:
        found = companions(self._specs.values(), str(request.get("name", "")))
        if not found:
            known = ", ".join(self._specs)
            raise ControlError(f"no process is named {request.get('name')!r}: there are {known}")
        return found

    def _view(self, name: str) -> dict[str, Any]:
        child = self._children[name]
        return {
            "name": name,
            "pid": child.pid,
            "state": str(child.state),
            "restarts": child.restarts,
            "exit": child.exit,
            "uptime_s": round(time.monotonic() - child.started_at_s, 3) if child.is_alive else 0,
            "log_offset": self._log_offsets[name],
        }

    async def _kill(self, specs: Iterable[ProcessSpec]) -> list[str]:
        # The agent before its runtime, so that it cannot report what its machine's death does.
        names = [spec.name for spec in reversed(list(specs))]
        for name in names:
            self._children[name] = self._children[name].asked_to_end(State.KILLED)
            self._signal(name, signal.SIGKILL)
        await self._until_ended(names, KILL_TIMEOUT_S)
        return names

    async def _reload(self) -> dict[str, Any]:
        """Start what is new, and end what should be no more; what stays is left as it is."""
        try:
            wanted = {spec.name: spec for spec in (self._reread or self._specs.values)()}
        except HomeError as error:
            raise ControlError(str(error)) from error
        gone = [spec for name, spec in self._specs.items() if name not in wanted]
        await self._kill(gone)
        for spec in gone:
            if self._children[spec.name].is_alive:
                raise ControlError(f"{spec.name} does not end")
            for table in (self._specs, self._children, self._log_offsets):
                del table[spec.name]
        new = [spec for name, spec in wanted.items() if name not in self._specs]
        for spec in new:
            self._specs[spec.name] = spec
            self._children[spec.name] = Child(spec.name)
            self._log_offsets[spec.name] = 0
        await self._start(new)
        return {"names": [spec.name for spec in new], "gone": [spec.name for spec in gone]}

    # Starting and restarting.

    async def _start(self, specs: Iterable[ProcessSpec]) -> None:
        for spec in specs:
            async with self._spawning:
                if not self._children[spec.name].is_alive and not self._stop.is_set():
                    await self._spawn(spec)

    async def _spawn(self, spec: ProcessSpec) -> None:
        log_file = self._home.log(spec.name)
        self._log_offsets[spec.name] = _size(log_file)
        now_s = time.monotonic()
        try:
            pid = await self._spawner.spawn(spec, log_file)
        except (SpawnError, OSError) as error:
            log.error("not started", process=spec.name, cause=str(error))  # noqa: TRY400 - a line
            failed = self._children[spec.name].started(0, now_s)
            self._children[spec.name] = failed.exited("not started", now_s)
            return
        self._children[spec.name] = self._children[spec.name].started(pid, now_s)
        log.info("started", process=spec.name, pid=pid)
        if pid in self._unclaimed:
            self._ended(spec.name, self._unclaimed[pid])
        self._unclaimed.clear()

    async def _restart_due(self) -> None:
        now_s = time.monotonic()
        due = [self._specs[child.name] for child in self._children.values() if child.is_due(now_s)]
        await self._start(due)

    async def _pause(self) -> None:
        """Wait for an exit, a restart that is due, or the next housekeeping."""
        now_s = time.monotonic()
        waits = [
            child.restart_at_s - now_s
            for child in self._children.values()
            if child.wanted and child.state is State.CRASHED
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min([*waits, HOUSEKEEPING_S]))):
                await self._wake.wait()
                return
        if not any(wait <= HOUSEKEEPING_S for wait in waits):
            self._keep_house()

    def _keep_house(self) -> None:
        for name in self._specs:
            try:
                rotate(self._home.log(name))
            except OSError as error:
                log.warning("log not rotated", process=name, cause=str(error))
        self._kill_orphans()

    # Exits.

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            self._exited(pid, status)
        self._wake.set()

    def _exited(self, pid: int, status: int) -> None:
        for child in self._children.values():
            if child.pid == pid and child.is_alive:
                self._ended(child.name, status)
                return
        if pid == self._spawner.pid:
            log.warning("zygote ended", exit=_how(status))
            if not self._stop.is_set():
                self._spawner.open()
        elif self._spawning.locked():
            self._unclaimed[pid] = status

    def _ended(self, name: str, status: int) -> None:
        child = self._children[name].exited(_how(status), time.monotonic())
        self._children[name] = child
        write = log.warning if child.state is State.CRASHED else log.info
        write("ended", process=name, exit=child.exit, state=str(child.state))
        self._kill_orphans()
        self._wake.set()

    def _kill_orphans(self) -> None:
        """Kill what was left to us by processes that ended: nothing outlives its owner."""
        if self._spawning.locked():
            return
        known = {child.pid for child in self._children.values()} | {self._spawner.pid}
        for pid in _children_of_this_process():
            if pid not in known:
                log.info("killing an orphan", pid=pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    # Stopping.

    def _owner_ended(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        log.info("stopping", cause=f"pid {self._until_pid} ended")
        self._stop_soon()

    def _stop_soon(self) -> None:
        self._stop.set()
        self._wake.set()

    async def _stop_all(self) -> None:
        for stage in sorted(Stage, reverse=True):
            names = [spec.name for spec in self._specs.values() if spec.stage is stage]
            for name in names:
                self._children[name] = self._children[name].asked_to_end(State.STOPPED)
                self._signal(name, signal.SIGTERM)
            if not await self._until_ended(names, STOP_TIMEOUT_S):
                slow = [name for name in names if self._children[name].is_alive]
                log.warning("killing what does not stop", processes=" ".join(slow))
                for name in slow:
                    self._signal(name, signal.SIGKILL)
                await self._until_ended(names, KILL_TIMEOUT_S)

    async def _until_ended(self, names: Iterable[str], timeout_s: float) -> bool:
        """Whether all of `names` are down within `timeout_s`."""
        waiting = list(names)
        deadline_s = time.monotonic() + timeout_s
        while any(self._children[name].is_alive for name in waiting):
            if time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(0.01)
        return True

    def _signal(self, name: str, number: signal.Signals) -> None:
        child = self._children[name]
        if child.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, number)
                if number is signal.SIGTERM:
                    os.kill(child.pid, signal.SIGCONT)  # one that is paused could not stop


def _how(status: int) -> str:
    """How a process ended, for people."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"status {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _children_of_this_process() -> list[int]:
    """Pids, by the kernel's list; empty where the kernel keeps none."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return []
    return [int(pid) for pid in text.split()]
