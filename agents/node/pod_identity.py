"""How a Pod is called inside and whom it asks for names: its sandbox's config and /etc/hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.node.cri_config import log_directory, sandbox_config
from agents.node.dns import ClusterDns, PodDns, parse_resolv_conf, pod_dns
from agents.node.hosts_file import HOSTS_PATH, hosts_text, kernel_host_name
from kubraft.api.object import Object
from kubraft.pb.criv1 import api_pb2 as cri


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """Reads the host's own files when asked, as they may change."""

    root: Path
    cluster: ClusterDns
    resolv_conf: Path
    cgroup_root: str = ""  # what the runtime makes the Pod's cgroups below

    def sandbox(self, pod: Object, attempt: int) -> cri.PodSandboxConfig:
        """The config of `pod`'s sandbox.

        Raises:
            HostNameError: its host name would be too long.
        """
        resolver = self.dns(pod).resolver
        return sandbox_config(
            pod,
            attempt,
            log_directory(self.root, pod),
            hostname=""
            if pod["spec"].get("hostNetwork")
            else kernel_host_name(pod, self.cluster.domain),
            dns=cri.DNSConfig(
                servers=resolver.servers, searches=resolver.searches, options=resolver.options
            ),
            cgroup_root=self.cgroup_root,
        )

    def dns(self, pod: Object) -> PodDns:
        """Its resolver, and what is to be said about it."""
        return pod_dns(pod, self.cluster, parse_resolv_conf(_read(self.resolv_conf)))

    def hosts_mount(
        self, pod: Object, container: Mapping[str, Any], address: str, directory: Path
    ) -> cri.Mount | None:
        """Write the Pod's /etc/hosts below `directory`; None if the container has one of its own.

        Raises:
            OSError: it cannot be written.
        """
        if any(m["mountPath"] == HOSTS_PATH for m in container.get("volumeMounts") or ()):
            return None
        text = hosts_text(pod, (address,), self.cluster.domain, _read(Path(HOSTS_PATH)))
        path = directory / "etc-hosts"
        if _read(path) != text:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(text)  # in place: it is mounted
            path.chmod(0o644)
        return cri.Mount(container_path=HOSTS_PATH, host_path=str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
