"""The node's part of the Pods' network: the way out, the Services' addresses, and tidying up.

CNI plugins make the bridge and the Pods' interfaces. What no plugin undoes when a machine dies is
undone here, by name.
"""

from __future__ import annotations

import shlex
import subprocess
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from kubraft.containerd_programs import find_program
from kubraft.log import get_logger

_TIMEOUT_S: Final = 10.0
# Bridges of nodes, this one's and others': behind them Pods see each other's own addresses.
_BRIDGES: Final = "kb*"

log = get_logger("containerd.network")


def open_way_out(bridge: str, pod_cidr: IPv4Network) -> None:
    """Have what Pods send outside the cluster leave with the machine's address.

    Without nftables there is no way out, which a log line says; all else works.
    """
    table = f"""
table ip {bridge}
delete table ip {bridge}
table ip {bridge} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {pod_cidr} oifname != "{_BRIDGES}" masquerade
  }}
}}
"""
    if not _run("nft", "-f", "-", given=table):
        log.warning("pods reach nothing outside the cluster", cause="nft did not take the rules")


def serve_addresses(network: IPv4Network) -> None:
    """Make every address of `network` this machine's own, so that Services can listen on them.

    Raises:
        OSError: the kernel refuses.
    """
    if not _run("ip", "route", "replace", "local", str(network), "dev", "lo"):
        raise OSError(f"the addresses of Services, {network}, cannot be made local")


def close_addresses(network: IPv4Network) -> None:
    """Undo `serve_addresses`."""
    _run("ip", "route", "del", "local", str(network), "dev", "lo")


def remove_network(bridge: str) -> None:
    """Remove all of a node's network that outlives its machine; nothing to do where it is gone."""
    _remove_host_ports(bridge)
    if Path("/sys/class/net", bridge).exists():
        _run("ip", "link", "del", bridge)
    # Deleting what is not there would be an error, so it is made first.
    _run("nft", "-f", "-", given=f"table ip {bridge}\ndelete table ip {bridge}\n")


def _remove_host_ports(name: str) -> None:
    """Remove the rules of host ports of Pods that no plugin was asked to take back."""
    for line in _output("iptables", "-w", "-t", "nat", "-S").splitlines():
        rule = host_port_rule(line, name)
        if rule:
            _run("iptables", "-w", "-t", "nat", "-D", *rule)
            for command in ("-F", "-X"):
                _run("iptables", "-w", "-t", "nat", command, rule[-1])


def host_port_rule(line: str, name: str) -> list[str]:
    """The words of a rule of network `name` that leads to a chain of its own; else none. Pure.

    Source: the portmap plugin's comments on its rules.
    """
    if not line.startswith("-A CNI-HOSTPORT-DNAT ") or " -j CNI-DN-" not in line:
        return []
    words = shlex.split(line)[1:]
    return words if any(word.startswith(f'dnat name: "{name}" ') for word in words) else []


def remove_cgroups(root: str, mounted: Path = Path("/sys/fs/cgroup")) -> None:
    """Remove the empty cgroups below `root` (begins with a slash) in every hierarchy."""
    relative = root.strip("/")
    assert relative, "never the root of all"
    for hierarchy in (mounted, *(path for path in mounted.iterdir() if path.is_dir())):
        top = hierarchy / relative
        if not top.is_dir() or top.is_symlink():
            continue
        folders = sorted((p for p in top.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts))
        for folder in (*folders, top):
            try:
                folder.rmdir()
            except OSError as error:
                log.warning("cgroup not removed", path=str(folder), cause=error.strerror)


def _run(name: str, *arguments: str, given: str = "") -> bool:
    done = _done(name, *arguments, given=given)
    if done is None:
        return False
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()[:200]
        log.info("command failed", command=f"{name} {' '.join(arguments)}", cause=words)
    return done.returncode == 0


def _output(name: str, *arguments: str) -> str:
    done = _done(name, *arguments)
    return "" if done is None or done.returncode else done.stdout.decode(errors="replace")


def _done(name: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[bytes] | None:
    """What became of a command; None where there is no such program."""
    program = find_program(name)
    if program is None:
        return None
    return subprocess.run(
        [program, *arguments],
        input=given.encode(),
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
