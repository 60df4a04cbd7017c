"""Processes of a former life of this runtime, which nobody supervises any more.

Each process of a container, and the nursery, carries the runtime's root directory in its initial
environment, which /proc keeps.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MARKER = "KUBRAFT_RUNTIME_ROOT"


def marked_processes(root: str) -> list[int]:
    """The pids whose initial environment names `root`; only those that this user may read."""
    wanted = f"{MARKER}={root}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found.append(int(name))
    return found


def kill_leftovers(root: str, *, patience_s: float = 5.0) -> int:
    """SIGKILL every marked process, until there is none; returns how many there were.

    Raises:
        TimeoutError: some would not die within `patience_s`.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + patience_s
    while pids := marked_processes(root):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {pids} of an earlier run do not die")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed.update(pids)
        time.sleep(0.02)
    return len(killed)
