"""Waiting until what was started does its work, with a line for each that does.

A process is ready when it has said so in its log; a member, the apiserver and a node must also
answer through the protocol that others reach them by.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from kubraft.cli.cluster_probe import apiserver_is_serving, member_statuses, ready_nodes
from kubraft.cluster_config import ClusterConfig
from kubraft.home import Home
from kubraft.supervisor.control import ask
from kubraft.supervisor.daemon import DaemonError

READY_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.05
_CRASHES_MAX: Final = 4
_READY: Final = b"event=ready"
_LOG_BYTES_MAX: Final = 1 << 20

Announce = Callable[[str, float], None]  # a process's name, seconds since the start


def wait_ready(
    home: Home,
    cluster: ClusterConfig,
    names: Iterable[str],
    announce: Announce,
    *,
    since_s: float,
) -> None:
    """Return once all of `names` are ready.

    Args:
        home: of the cluster.
        cluster: what is running.
        names: of processes.
        announce: called once for each, as soon as it is ready.
        since_s: on the monotonic clock; announcements count from it.

    Raises:
        DaemonError: one keeps crashing, was stopped, or is not ready after `READY_TIMEOUT_S`.
        ControlError: the supervisor does not answer.
    """
    asyncio.run(_wait(home, cluster, set(names), announce, since_s))


def wait_answers(home: Home, cluster: ClusterConfig, member: str) -> None:
    """Return once `member` answers, though it may know no leader.

    Raises:
        DaemonError: it keeps crashing, or does not answer within `READY_TIMEOUT_S`.
        ControlError: the supervisor does not answer.
    """
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    crashes = Crashes()
    while member not in asyncio.run(member_statuses(home, cluster)):
        for view in ask(home.control_socket, "status")["processes"]:
            if view["name"] == member:
                _check(home, view, crashes)
        if time.monotonic() > deadline_s:
            raise DaemonError(f"{member} does not answer; see {home.log(member)}")
        time.sleep(_POLL_S)


async def _wait(
    home: Home, cluster: ClusterConfig, pending: set[str], announce: Announce, since_s: float
) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    crashes = Crashes()
    while pending:
        views = {view["name"]: view for view in ask(home.control_socket, "status")["processes"]}
        waiting = [views[name] for name in views if name in pending]
        for view in waiting:
            _check(home, view, crashes)
        said = {view["name"] for view in waiting if _has_said_so(home, view)}
        for name in await _confirmed(home, cluster, said):
            pending.discard(name)
            announce(name, time.monotonic() - since_s)
        if not pending:
            return
        if time.monotonic() > deadline_s:
            names = ", ".join(sorted(pending))
            raise DaemonError(f"not ready after {READY_TIMEOUT_S:.0f} s: {names}; see {home.logs}")
        await asyncio.sleep(_POLL_S)


async def _confirmed(home: Home, cluster: ClusterConfig, said: set[str]) -> list[str]:
    """Those of `said` of which the protocols say the same, in order."""
    confirmed = set(said)
    members = {member.name for member in cluster.members}
    if said & members:
        statuses = await member_statuses(home, cluster)
        knowing = {name for name, status in statuses.items() if status.leader}
        confirmed -= members - knowing
    apiservers = {name for name in said if name.startswith("apiserver-")}
    if apiservers and not await apiserver_is_serving(home, cluster):
        confirmed -= apiservers
    nodes = {node.name for node in cluster.nodes}
    if said & nodes:
        confirmed -= nodes - await ready_nodes(home, cluster)
    return sorted(confirmed)


class Crashes:
    """How often processes crashed while somebody waits: what happened before is over."""

    def __init__(self) -> None:
        self._restarts: dict[str, int] = {}  # at the first look

    def since_then(self, view: dict[str, Any]) -> int:
        """The restarts of the process of `view` since the first one of it that was shown."""
        restarts: int = view["restarts"]
        return restarts - self._restarts.setdefault(view["name"], restarts)


def _check(home: Home, view: dict[str, Any], crashes: Crashes) -> None:
    name = view["name"]
    if view["state"] in {"stopped", "killed"} and view["exit"]:
        raise DaemonError(f"{name} was {view['state']} before it was ready")
    if crashes.since_then(view) >= _CRASHES_MAX:
        last = last_line(home.log(name))
        raise DaemonError(f"{name} keeps crashing ({view['exit']}): {last}; see {home.log(name)}")


def _has_said_so(home: Home, view: dict[str, Any]) -> bool:
    """Whether the process's log has the line, since it was started last."""
    if view["state"] != "running":
        return False
    path = home.log(view["name"])
    try:
        with path.open("rb") as file:
            # A log that was rotated meanwhile is shorter than it was.
            file.seek(min(view["log_offset"], path.stat().st_size))
            return _READY in file.read(_LOG_BYTES_MAX)
    except FileNotFoundError:
        return False


def last_line(path: Path) -> str:
    """The last line of a log, for an error message."""
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1] if lines else "empty log"
