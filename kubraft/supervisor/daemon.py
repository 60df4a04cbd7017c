"""Starting the supervisor detached from the terminal, and giving it commands."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from kubraft.home import Home
from kubraft.supervisor.control import ask
from kubraft.supervisor.log_file import open_log
from kubraft.supervisor.pid_file import find_running

START_TIMEOUT_S: Final = 15.0


class DaemonError(Exception):
    """The supervisor did not come up, or is not there; the message is one line for the user."""


def start_daemon(home: Home, *, processes: Path | None = None) -> int:
    """Start a supervisor that outlives this process, and wait until it takes commands.

    Args:
        home: prepared.
        processes: a file that names other processes than the cluster's, for tests.

    Returns:
        Its pid.

    Raises:
        DaemonError: it ended at once or does not answer.
        OSError: its log cannot be opened.
    """
    log_file = home.log("supervisor")
    log = open_log(log_file)
    offset = log_file.stat().st_size
    reader, writer = os.pipe()
    arguments = ["--home", str(home.path.absolute()), "--detach", str(writer)]
    if processes is not None:
        arguments += ["--processes", str(processes)]
    try:
        # Returns as soon as the supervisor has detached itself.
        subprocess.run(
            [sys.executable, "-m", "kubraft.supervisor", *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[writer],
        )
    finally:
        os.close(log)
        os.close(writer)
    with os.fdopen(reader, "rb") as announcements:
        if not select.select([announcements], [], [], START_TIMEOUT_S)[0]:
            raise DaemonError(f"the supervisor does not answer: see {log_file}")
        pid = announcements.readline()
    if not pid:
        raise DaemonError(f"the supervisor ended at once: {_cause(log_file, offset)}")
    return int(pid)


def command(home: Home, name: str, *, process: str = "") -> dict[str, Any]:
    """Have the running supervisor do something.

    Raises:
        DaemonError: none runs.
        ControlError: it refused.
    """
    if find_running(home.pid_file) is None:
        raise DaemonError(f"no cluster is running in {home.path}: `make up` starts one")
    return ask(home.control_socket, name, name=process)


def _cause(path: Path, offset: int) -> str:
    """What the last line that was logged since `offset` gives as the cause."""
    with path.open("rb") as file:
        file.seek(offset)
        lines = file.read(64 << 10).decode(errors="replace").strip().splitlines()
    if not lines:
        return f"see {path}"
    return lines[-1].partition("cause=")[2].strip('"') or lines[-1]
