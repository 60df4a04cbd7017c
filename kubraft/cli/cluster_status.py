"""`kubraft status`: processes as the supervisor has them, members as they see themselves."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from kubraft.cli.terminal import Terminal, process_terminal
from kubraft.cluster_config import ClusterConfig
from kubraft.home import Home, HomeError
from kubraft.supervisor.control import ask
from kubraft.supervisor.pid_file import find_running
from kubraft.supervisor.specs import cluster_processes

_COLOURS = {"running": "green", "stopped": "dim", "crashed": "yellow", "killed": "red"}


def show_status(home: Home, output: str) -> None:
    """Write the status to standard output, as a table or as JSON.

    Raises:
        HomeError: there is no cluster, or `output` is no format.
        ControlError: the supervisor does not answer.
    """
    if output not in {"", "json"}:
        raise HomeError(f"--output={output}: must be json, or absent for a table")
    status = read_status(home)
    terminal = process_terminal()
    if output == "json":
        terminal.out(json.dumps(status, indent=2))
    else:
        for line in table(status, terminal):
            terminal.out(line)


def read_status(home: Home) -> dict[str, Any]:
    """The machine-readable truth; a member that does not answer has no role, term and index.

    Raises:
        HomeError: there is no cluster.
        ControlError: the supervisor does not answer.
    """
    cluster = home.get_cluster()
    views = process_views(home, cluster)
    return {
        "members": member_views(home, cluster, views),
        "processes": [
            view for name, view in views.items() if name not in {m.name for m in cluster.members}
        ],
        "rest": cluster.rest,
        "grpc": cluster.grpc,
        "grpc_mtls": cluster.grpc_mtls,
        "kubeconfig": str(home.kubeconfig),
        "token_file": str(home.token_file),
        "ca_file": str(home.pki / "ca.crt"),
        "store_cert": str(home.pki / "store-client.crt"),
        "store_key": str(home.pki / "store-client.key"),
        "supervisor_pid": find_running(home.pid_file) or 0,
        "logs": str(home.logs),
    }


def process_views(home: Home, cluster: ClusterConfig) -> dict[str, dict[str, Any]]:
    """Name, pid, state and restarts of each process, by name; all stopped without a supervisor."""
    if find_running(home.pid_file) is None:
        stopped = {"pid": 0, "state": "stopped", "restarts": 0, "exit": ""}
        return {
            spec.name: {"name": spec.name, **stopped} for spec in cluster_processes(home, cluster)
        }
    answer = ask(home.control_socket, "status")
    keys = ("name", "pid", "state", "restarts", "exit")
    return {view["name"]: {key: view[key] for key in keys} for view in answer["processes"]}


def member_views(
    home: Home, cluster: ClusterConfig, views: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """A view of each member, with what it says of itself where it is up."""
    statuses = {}
    if any(views[member.name]["pid"] for member in cluster.members):
        from kubraft.cli.cluster_probe import member_statuses  # noqa: PLC0415 - needs gRPC

        statuses = asyncio.run(member_statuses(home, cluster))
    members = []
    for member in cluster.members:
        status = statuses.get(member.name)
        members.append(
            {
                **views[member.name],
                "role": status.role if status else None,
                "term": status.term if status else None,
                "applied_index": status.applied_index if status else None,
                "client_url": member.client_url,
                "peer_url": member.peer_url,
            }
        )
    return members


def table(status: dict[str, Any], terminal: Terminal) -> list[str]:
    """The status for people, line by line."""
    rows = [("NAME", "STATE", "PID", "ROLE", "TERM", "APPLIED", "RESTARTS")]
    for view in [*status["members"], *status["processes"]]:
        values = (view.get("role"), view.get("term"), view.get("applied_index"))
        role, term, applied = ("-" if value is None else str(value) for value in values)
        pid = str(view["pid"] or "-")
        rows.append((view["name"], view["state"], pid, role, term, applied, str(view["restarts"])))
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[1] = terminal.paint(cells[1], _COLOURS.get(row[1], ""))
        lines.append("   ".join(cells).rstrip())
    lines += [
        "",
        f"grpc        {status['grpc']} (TLS, token)   {status['grpc_mtls']} (mutual TLS)",
        f"rest        {status['rest']}",
        f"kubeconfig  {status['kubeconfig']}   token  {status['token_file']}",
        f"logs        {status['logs']}",
    ]
    return lines
