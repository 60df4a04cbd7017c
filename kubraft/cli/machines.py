"""`kubraft add-node` and `remove-node`: machines come to a running cluster, and go."""

from __future__ import annotations

import datetime as dt
import shutil
import time

from kubraft.cli.progress import Progress
from kubraft.cluster_config import ClusterConfig
from kubraft.home import Home, HomeError
from kubraft.ports import find_holder, is_free
from kubraft.supervisor.daemon import DaemonError, command
from kubraft.supervisor.pid_file import find_running


def add_machine(home: Home) -> None:
    """Start one more node, and wait until it is ready.

    Raises:
        DaemonError: no cluster runs, its port is taken, or it does not become ready.
        ClusterConfigError: there are as many nodes as there can be.
        HomeError, ControlError, OSError: it cannot be; each message is one line.
    """
    from kubraft.cli.readiness import wait_ready  # noqa: PLC0415 - needs gRPC
    from kubraft.pki import PkiError, make_pki  # noqa: PLC0415 - slow to import

    since_s = time.monotonic()
    progress = Progress()
    cluster, node = _running(home).with_node()
    if not is_free(node.port):
        holder = find_holder(node.port) or "another process"
        raise DaemonError(f"port {node.port}, which {node.name} needs, is taken by {holder}")
    try:
        make_pki(
            home.pki,
            members=[member.name for member in cluster.members],
            nodes=[each.name for each in cluster.nodes],
            now=dt.datetime.now(dt.UTC),
            service_address=cluster.kubernetes_address,
        )
    except PkiError as error:
        raise HomeError(str(error)) from error
    home.prepare(cluster)
    names = command(home, "reload")["names"]
    with progress.waiting(len(names)):
        wait_ready(home, cluster, names, progress.ready, since_s=since_s)


def remove_machine(home: Home, name: str) -> None:
    """End that node's processes and remove its data; the cloud controller deletes its Node.

    Raises:
        DaemonError: no cluster runs.
        ClusterConfigError: there is no such node.
        HomeError, ControlError, OSError: it cannot be; each message is one line.
    """
    before = _running(home)
    cluster = before.without_node(name)
    home.prepare(cluster)
    gone = command(home, "reload")["gone"]
    for process in gone:
        shutil.rmtree(home.data(process), ignore_errors=True)
    Progress().say(f"{', '.join(gone)} gone for good; the Node follows once it is missed")


def _running(home: Home) -> ClusterConfig:
    if find_running(home.pid_file) is None:
        raise DaemonError(f"no cluster is running in {home.path}: `make up` starts one")
    return home.get_cluster()
