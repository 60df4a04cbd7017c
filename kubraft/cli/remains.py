"""Removes what killed nodes have left outside the cluster's home: bridges, rules, cgroups."""

from __future__ import annotations

import subprocess
import sys

from kubraft.cli.progress import Progress
from kubraft.home import Home
from kubraft.supervisor.runtime_specs import has_remains, runtime_process

_TIMEOUT_S = 30.0


def remove_remains(home: Home) -> None:
    """Tidy up after the nodes of a cluster that is down; nothing to do where all ended in order."""
    cluster = home.find_cluster()
    for node in cluster.nodes if cluster else ():
        assert cluster is not None
        process = runtime_process(home, cluster, node)
        if process is None or not has_remains(cluster, node):
            continue
        module, arguments = process
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments, "--remove"],
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            Progress().say(f"{node.name} has left something: {done.stderr.decode().strip()}")
