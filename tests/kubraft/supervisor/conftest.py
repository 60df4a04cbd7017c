from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from kubraft.cluster_config import Counts, new_cluster
from kubraft.home import Home
from kubraft.supervisor.control import ControlError
from kubraft.supervisor.daemon import DaemonError, command, start_daemon

STAND_IN = "tests.kubraft.supervisor.stand_in"


def wait_for(condition: Callable[[], Any], timeout_s: float = 15.0) -> Any:
    """What `condition` returns once it is true."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s"
        time.sleep(0.01)
    return value


class Cluster:
    """A supervisor in a home of its own, with stand-ins for its processes."""

    def __init__(self, home: Home, processes: Path) -> None:
        self.home = home
        self._processes = processes
        self.pid = 0

    def up(self, *processes: dict[str, Any]) -> None:
        if processes:
            entries = [{"module": STAND_IN, "arguments": ["serve"], **entry} for entry in processes]
            self._processes.write_text(json.dumps(entries))
        self.pid = start_daemon(self.home, processes=self._processes)
        wait_for(lambda: all(entry["pid"] or entry["exit"] for entry in self.status().values()))

    def ask(self, name: str, process: str = "") -> dict[str, Any]:
        return command(self.home, name, process=process)

    def status(self) -> dict[str, dict[str, Any]]:
        return {entry["name"]: entry for entry in self.ask("status")["processes"]}

    def pids(self) -> dict[str, int]:
        return {name: entry["pid"] for name, entry in self.status().items()}

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def down(self) -> None:
        with contextlib.suppress(DaemonError, ControlError):
            self.ask("down")
        wait_for(lambda: not psutil.pid_exists(self.pid) or is_zombie(self.pid))


def is_zombie(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or is_zombie(pid)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    home = Home(tmp_path / "home")
    home.prepare(new_cluster(Counts(), auto_ports=False, rng=random.Random(0)))
    cluster = Cluster(home, tmp_path / "processes.json")
    yield cluster
    if cluster.pid and not is_gone(cluster.pid):
        left = cluster.descendants()
        cluster.down()
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
