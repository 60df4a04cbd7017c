"""containerd in PID and mount namespaces of its own, so that nothing of it can be left behind.

The first process of the namespaces starts containerd, starts it again when it ends (Pods live on,
each below a shim), and reaps. When that process dies the kernel kills all that was started in it,
and with the last process its mounts and its Pods' network namespaces are gone.

    keeper   child of the agent, dies with it; waits for the first process
    first    PID 1 inside; dies with the keeper

Source: pid_namespaces(7), mount_namespaces(7), prctl(2).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from agents.containerd.config import STATE
from agents.runtime import linux

_MS_SLAVE: Final = 1 << 19
_RESTART_S: Final = 0.5
_STOP_S: Final = 3.0
_CNI_STATE: Final = "/var/lib/cni"


def start_machine(command: Sequence[str], cni_state: Path) -> int:
    """Start containerd in its namespaces; must be called before this process has threads.

    Args:
        command: containerd's.
        cni_state: the folder that the plugins see as /var/lib/cni.

    Returns:
        The keeper's pid: SIGTERM stops containerd and then all the rest, SIGKILL all at once.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        with _child():
            _keep(parent, command, cni_state)
    return pid


@contextlib.contextmanager
def _child() -> Iterator[None]:
    """A forked process must not return into its parent's code."""
    try:
        yield
    except BaseException as error:  # noqa: BLE001 - there is nobody else to hear of it
        os.write(2, f"kubraft: the machine of containerd failed: {error}\n".encode())
    finally:
        os._exit(1)


def _keep(parent: int, command: Sequence[str], cni_state: Path) -> NoReturn:
    _die_with(parent)
    os.setsid()
    linux.set_process_name("kubraft-keeper")
    linux.unshare(linux.CLONE_NEWPID | linux.CLONE_NEWNS)
    first = os.fork()
    if first == 0:
        with _child():
            _first(command, cni_state)

    def forward(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first, number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _pid, status = os.waitpid(first, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _die_with(parent: int) -> None:
    linux.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _first(command: Sequence[str], cni_state: Path) -> NoReturn:
    linux.set_parent_death_signal(signal.SIGKILL)
    linux.set_process_name("kubraft-machine")
    _mount(cni_state)
    stopping = False
    running = 0

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        if running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(running, signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, _STOP_S)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(0))
    while not stopping:
        running = os.posix_spawn(
            command[0],
            list(command),
            os.environ,
            setsigdef=(signal.SIGTERM, signal.SIGINT, signal.SIGPIPE),
            setsigmask=(),
        )
        _reap_until(running)
        running = 0
        if not stopping:
            os.write(2, b"kubraft: containerd ended, starting it again\n")
            time.sleep(_RESTART_S)
    os._exit(0)


def _mount(cni_state: Path) -> None:
    """What containerd, the shims and the plugins keep at fixed paths is this machine's own."""
    # What the host mounts later is seen here, what is mounted here is not seen there.
    linux.mount("", "/", "", linux.MS_REC | _MS_SLAVE)
    linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    for folder in (STATE, _CNI_STATE):
        Path(folder).mkdir(parents=True, exist_ok=True)
    linux.mount("tmpfs", STATE, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=711")
    linux.mount(str(cni_state), _CNI_STATE, "", linux.MS_BIND)


def _reap_until(pid: int) -> None:
    while True:
        try:
            if os.waitpid(-1, 0)[0] == pid:
                return
        except InterruptedError:
            continue
        except ChildProcessError:
            return
