"""`python -m kubraft.supervisor --home DIRECTORY`: supervise the cluster described there."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path

from kubraft.home import Home, HomeError
from kubraft.log import configure, get_logger
from kubraft.supervisor.pid_file import PidFile
from kubraft.supervisor.specs import ProcessSpec, Stage, cluster_processes
from kubraft.supervisor.supervisor import Supervisor


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kubraft.supervisor")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--processes", type=Path, help="a JSON list of others to supervise")
    parser.add_argument("--detach", type=int, help="descriptor that takes the pid when set up")
    arguments = parser.parse_args()
    if arguments.detach is not None:
        detach(arguments.detach)
    configure("info")
    log = get_logger("supervisor")
    home = Home(arguments.home)
    pid_file = PidFile(home.pid_file)
    try:
        specs = read_specs(arguments.processes) if arguments.processes else None
        reread = None if specs else partial(_cluster, home)
        specs = specs or _cluster(home)
        if not pid_file.acquire():
            log.error("failed", cause=f"one is already running in {home.path}")
            return 1
    except (HomeError, OSError, ValueError) as error:
        log.error("failed", cause=str(error))  # noqa: TRY400 - one line
        return 1
    try:
        until_pid = int(os.environ.get("KUBRAFT_UNTIL_PID", "0"))
        asyncio.run(
            Supervisor(home, specs, until_pid=until_pid, reread=reread).run(
                lambda: announce(arguments.detach)
            )
        )
    except OSError as error:
        log.error("failed", cause=str(error))  # noqa: TRY400 - one line
        return 1
    finally:
        pid_file.release()
    return 0


def _cluster(home: Home) -> list[ProcessSpec]:
    """Raises HomeError."""
    return cluster_processes(home, home.get_cluster())


def detach(announce_to: int) -> None:
    """Go on as a child of nobody; whoever started this process may reap it at once."""
    if os.fork():
        os._exit(0)
    os.set_inheritable(announce_to, False)


def announce(descriptor: int | None) -> None:
    """Tell whoever started us that commands are taken."""
    if descriptor is not None:
        os.write(descriptor, f"{os.getpid()}\n".encode())
        os.close(descriptor)


def read_specs(path: Path) -> list[ProcessSpec]:
    """Processes from a file, as `ProcessSpec` names its fields.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such a list.
    """
    try:
        return [
            ProcessSpec(
                name=entry["name"],
                module=entry["module"],
                arguments=tuple(entry.get("arguments", ())),
                stage=Stage[entry.get("stage", "AGENT")],
                machine=entry.get("machine", ""),
            )
            for entry in json.loads(path.read_text())
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a list of processes: {error!r}") from error


if __name__ == "__main__":
    sys.exit(main())
