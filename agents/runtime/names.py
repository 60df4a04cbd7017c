"""The files by which a sandbox's programs know its name and how to resolve others.

/etc/hostname and /etc/resolv.conf are written once a sandbox and bound into each of its containers.
Without a DNS config there is no resolv.conf: containers then see the host's.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agents.runtime.launch import Bind
from kubraft.pb.criv1 import api_pb2 as cri

_FILES = {"hostname": "/etc/hostname", "resolv.conf": "/etc/resolv.conf"}


def write_names(directory: Path, hostname: str, dns: cri.DNSConfig) -> None:
    """Write the files of one sandbox."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o755)
    (directory / "hostname").write_text(hostname + "\n")
    if text := resolv_conf(dns):
        (directory / "resolv.conf").write_text(text)


def resolv_conf(dns: cri.DNSConfig) -> str:
    """The content of a resolv.conf; empty where the config says nothing."""
    lines = [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"nameserver {server}" for server in dns.servers]
    if dns.options:
        lines.append(f"options {' '.join(dns.options)}")
    return "".join(line + "\n" for line in lines)


def name_binds(directory: Path, mounts: Iterable[cri.Mount]) -> tuple[Bind, ...]:
    """What a container sees of them: all that its own mounts do not replace."""
    own = {mount.container_path for mount in mounts}
    return tuple(
        Bind(str(directory / name), target)
        for name, target in _FILES.items()
        if target not in own and (directory / name).exists()
    )
