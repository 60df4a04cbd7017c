"""`kubraft up`: checks, keys, the supervisor, and waiting until all is ready."""

from __future__ import annotations

import datetime as dt
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from kubraft.cli.progress import Progress
from kubraft.cli.runtime_choice import check_runtime
from kubraft.cluster_config import ClusterConfig, ClusterConfigError, Counts, new_cluster
from kubraft.home import Home, HomeError
from kubraft.ports import find_holder, is_free
from kubraft.supervisor.daemon import DaemonError, start_daemon
from kubraft.supervisor.pid_file import find_running, remove_stale
from kubraft.supervisor.specs import cluster_processes


def bring_up(home: Home, counts: Counts) -> None:
    """Start the cluster of `home`, or a new one there, and return once it is ready.

    Raises:
        HomeError, ClusterConfigError, DaemonError, ControlError, OSError: it cannot be; each
            message is one line.
    """
    since_s = time.monotonic()
    cluster = home.find_cluster()
    progress = Progress()
    if (pid := find_running(home.pid_file)) is not None:
        running = home.get_cluster()
        _refuse_changes(running, counts)
        progress.say(f"already running (supervisor pid {pid})")
    else:
        running = _start(home, cluster, counts, progress)
    names = [spec.name for spec in cluster_processes(home, running)]
    from kubraft.cli.readiness import wait_ready  # noqa: PLC0415 - while processes start
    from kubraft.supervisor.control import ask  # noqa: PLC0415

    if pid is not None:
        views = ask(home.control_socket, "status")["processes"]
        down = [view["name"] for view in views if view["state"] in {"killed", "stopped"}]
        for name in down:
            progress.say(f"{name} is down: `make start MEMBER={name}` starts it")
        names = [name for name in names if name not in down]
    with progress.waiting(len(names)):
        wait_ready(home, running, names, progress.ready, since_s=since_s)
    progress.say(f"ready after {time.monotonic() - since_s:.1f} s")
    progress.say("")
    for line in next_lines(home, running):
        progress.say(line)


def _start(
    home: Home, known: ClusterConfig | None, counts: Counts, progress: Progress
) -> ClusterConfig:
    if home.path.is_dir() and (stale := remove_stale(home.pid_file)) is not None:
        progress.say(f"removed a stale {home.pid_file.name}: pid {stale} is gone")
    if known is None:
        cluster = new_cluster(counts, auto_ports=_wants_auto_ports(), rng=random.SystemRandom())
    else:
        cluster = known.with_counts(counts)
    check_ports(cluster)
    check_runtime(cluster)
    home.prepare(cluster)
    from kubraft.credentials import make_credentials  # noqa: PLC0415
    from kubraft.pki import PkiError, make_pki  # noqa: PLC0415 - slow to import

    try:
        made = make_pki(
            home.pki,
            members=[member.name for member in cluster.members],
            nodes=[node.name for node in cluster.nodes],
            now=dt.datetime.now(dt.UTC),
            service_address=cluster.kubernetes_address,
        )
    except PkiError as error:
        raise HomeError(str(error)) from error
    make_credentials(home, cluster.rest)
    if made:
        progress.say(f"made {len(made)} keys and certificates in {home.pki}")
    pid = start_daemon(home)
    progress.say(
        f"starting {_counted(len(cluster.members), 'member')}, "
        f"{_counted(cluster.apiservers, 'apiserver')}, scheduler, controller manager, proxy, "
        f"metrics server, dns{_hollow(cluster)} and {_counted(len(cluster.nodes), 'node')} "
        f"(supervisor pid {pid})"
    )
    return cluster


def check_ports(cluster: ClusterConfig) -> None:
    """Refuse ports that are taken.

    Raises:
        DaemonError: one is; the message names it, who needs it and who has it.
    """
    for name, port in listeners(cluster):
        if not is_free(port):
            holder = find_holder(port) or "another process"
            raise DaemonError(f"port {port}, which {name} needs, is taken by {holder}")


def listeners(cluster: ClusterConfig) -> Iterator[tuple[str, int]]:
    """Each process's name with each port that it listens on."""
    for member in cluster.members:
        yield member.name, member.client_port
        yield member.name, member.peer_port
    yield "metrics-server-0", cluster.metrics_port
    for role, ports, count in (
        ("scheduler", cluster.scheduler_ports, cluster.schedulers),
        ("controller-manager", cluster.controller_manager_ports, cluster.controller_managers),
    ):
        for index, port in enumerate(ports[:count]):
            yield f"{role}-{index}", port
    if cluster.cloud_controller_manager_port:
        yield "cloud-controller-manager-0", cluster.cloud_controller_manager_port
    if cluster.hollow.nodes:
        yield "hollow-0", cluster.hollow_port
    for port in (cluster.rest_port, cluster.grpc_port, cluster.grpc_mtls_port):
        yield "apiserver-0", port
    for node in cluster.nodes:
        yield node.name, node.port


def _wants_auto_ports() -> bool:
    wanted = os.environ.get("KUBRAFT_PORTS", "")
    if wanted not in {"", "auto"}:
        raise ClusterConfigError(f"KUBRAFT_PORTS={wanted}: must be auto, or not set")
    return wanted == "auto"


def _refuse_changes(running: ClusterConfig, counts: Counts) -> None:
    changed = running.with_counts(counts)
    if changed != running:
        names = [
            field.name.upper()
            for field in fields(counts)
            if getattr(counts, field.name) is not None
            and getattr(changed, field.name) != getattr(running, field.name)
        ]
        raise DaemonError(f"already running with other {', '.join(names)}: `make down` first")


def next_lines(home: Home, cluster: ClusterConfig) -> Iterator[str]:
    """What to try next, as lines that work when pasted."""
    pki = home.pki
    yield "Try next:"
    yield f"  {_tool('kubraft') or 'kubraft'} get nodes"
    if grpcurl := _tool("grpcurl"):
        yield (
            f"  {grpcurl} -cacert {pki}/ca.crt "
            f'-H "authorization: Bearer $(cat {home.token_file})" {cluster.grpc} list'
        )
    if etcdctl := _tool("etcdctl"):
        yield (
            f"  {etcdctl} --endpoints={cluster.endpoints} --cacert={pki}/ca.crt "
            f"--cert={pki}/store-client.crt --key={pki}/store-client.key endpoint status -w table"
        )
    yield "  make kill MEMBER=store-0    then    make status    and    make start MEMBER=store-0"
    if not _tool("grpcurl"):
        yield "  make tools    puts grpcurl, etcdctl and kubectl into .venv/bin"


def _hollow(cluster: ClusterConfig) -> str:
    count = cluster.hollow.nodes
    return f", {_counted(count, 'hollow node')}" if count else ""


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _tool(name: str) -> str | None:
    """How to call a program: by name where the shell finds it, by path in our environment."""
    if shutil.which(name):
        return name
    path = Path(sys.executable).parent / name
    if not path.exists():
        return None
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
