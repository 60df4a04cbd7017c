"""`kubraft kill`, `start`, `down` and `clean`."""

from __future__ import annotations

import time

from kubraft.cli.progress import Progress
from kubraft.cli.remains import remove_remains
from kubraft.home import Home
from kubraft.supervisor.daemon import DaemonError, command
from kubraft.supervisor.pid_file import find_running, remove_stale


def kill_process(home: Home, name: str) -> None:
    """SIGKILL it, with the rest of its machine where it is a node.

    Raises:
        DaemonError: no cluster runs.
        ControlError: there is no such process.
    """
    names = command(home, "kill", process=name)["names"]
    killed = ", ".join(names)
    Progress().say(f"killed {killed}; down until `make start MEMBER={name}`")


def start_process(home: Home, name: str) -> None:
    """Start it, with the rest of its machine where it is a node, and wait until it is ready.

    Raises:
        DaemonError: no cluster runs, or it does not become ready.
        ControlError: there is no such process.
    """
    from kubraft.cli.readiness import wait_answers, wait_ready  # noqa: PLC0415 - needs gRPC

    since_s = time.monotonic()
    progress = Progress()
    cluster = home.get_cluster()
    names = command(home, "start", process=name)["names"]
    if not names:
        progress.say(f"{name} is running already")
        return
    members = {member.name for member in cluster.members}
    views = command(home, "status")["processes"]
    up = sum(view["name"] in members and view["state"] == "running" for view in views)
    if name in members and up <= len(members) // 2:
        # Ready it cannot be before there is a quorum, which takes more of this command.
        wait_answers(home, cluster, name)
        progress.say(f"{name} is up; no quorum yet: {up} of {len(members)} members run")
        return
    with progress.waiting(len(names)):
        wait_ready(home, cluster, names, progress.ready, since_s=since_s)


def take_down(home: Home) -> None:
    """Stop everything and keep the data; nothing to do where nothing runs.

    Raises:
        HomeError: there never was a cluster.
        ControlError: the supervisor does not answer.
    """
    home.get_cluster()
    progress = Progress()
    if find_running(home.pid_file) is None:
        remove_stale(home.pid_file)
        remove_remains(home)
        progress.say("not running")
        return
    since_s = time.monotonic()
    names = command(home, "down")["names"]
    while find_running(home.pid_file) is not None:
        time.sleep(0.01)
    remove_remains(home)
    progress.say(
        f"stopped {len(names)} processes in {time.monotonic() - since_s:.1f} s; "
        f"the data stays in {home.path}"
    )


def remove(home: Home) -> None:
    """Remove the cluster's directory; nothing to do where there is none.

    Raises:
        DaemonError: it is running.
        HomeError: the directory is not ours, or cannot be removed.
    """
    progress = Progress()
    if not home.path.exists():
        progress.say(f"there is no {home.path}")
        return
    if find_running(home.pid_file) is not None:
        raise DaemonError(f"the cluster in {home.path} is running: `make down` first")
    remove_remains(home)
    home.remove()
    progress.say(f"removed {home.path}")
