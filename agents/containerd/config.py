"""The files that containerd and the CNI plugins read. Pure.

Source: containerd 1.6, pages on CRI configuration and on registry hosts; the CNI specification
0.4.0 and the reference plugins' pages.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

CRI: Final = "io.containerd.grpc.v1.cri"
SANDBOX_IMAGE: Final = "registry.k8s.io/pause:3.9"
# Inside the machine's own mount namespace, where it is a tmpfs; shims keep their sockets below it
# whatever the configuration says.
STATE: Final = "/run/containerd"
_UPSTREAM: Final = {
    "docker.io": "https://registry-1.docker.io",
    "registry.k8s.io": "https://registry.k8s.io",
    "k8s.gcr.io": "https://k8s.gcr.io",
}
# Not needed, slow to try, or noisy where they are not there.
_DISABLED: Final = (
    *(f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")),
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
)


@dataclass(frozen=True, slots=True)
class Place:
    """One containerd: its files, and its Pods' network."""

    root: Path
    socket: Path
    pod_cidr: IPv4Network
    bridge: str  # at most 15 bytes, as any interface's name
    cni: str  # directory of the plugins

    @property
    def config(self) -> Path:
        return self.root / "containerd.toml"

    @property
    def network_folder(self) -> Path:
        return self.root / "net.d"

    @property
    def registries(self) -> Path:
        return self.root / "certs.d"


def containerd_config(place: Place, snapshotter: str) -> str:
    """Containerd's own configuration, version 2."""
    quoted = json.dumps  # strings of JSON are strings of TOML
    return f"""version = 2
root = {quoted(str(place.root / "content"))}
state = {quoted(STATE + "/state")}
disabled_plugins = {quoted(list(_DISABLED))}

[grpc]
  address = {quoted(str(place.socket))}

[plugins.{quoted(CRI)}]
  sandbox_image = {quoted(SANDBOX_IMAGE)}
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  tolerate_missing_hugetlb_controller = true
  [plugins.{quoted(CRI)}.cni]
    bin_dir = {quoted(place.cni)}
    conf_dir = {quoted(str(place.network_folder))}
  [plugins.{quoted(CRI)}.containerd]
    snapshotter = {quoted(snapshotter)}
    [plugins.{quoted(CRI)}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.{quoted(CRI)}.containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins.{quoted(CRI)}.registry]
    config_path = {quoted(str(place.registries))}
"""


def network_config(place: Place) -> str:
    """The Pods' network: a bridge whose address is their gateway, and host ports.

    Nothing here rewrites addresses on the way out: one rule of the node does (`network`).
    """
    bridge = {
        "type": "bridge",
        "bridge": place.bridge,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(place.pod_cidr)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    plugins = [bridge, ports]
    return json.dumps({"cniVersion": "0.4.0", "name": place.bridge, "plugins": plugins}, indent=2)


def registry_configs(mirror: str, *, offline: bool) -> dict[str, str]:
    """`hosts.toml` of each registry, by its folder's name.

    Args:
        mirror: URL of the server of the built-in images, which is asked first.
        offline: whether it is the only one to ask, whatever the registry.
    """
    if offline:
        return {"_default": _hosts(mirror, mirror)}
    return {name: _hosts(server, mirror) for name, server in _UPSTREAM.items()}


def _hosts(server: str, mirror: str) -> str:
    return (
        f"server = {json.dumps(server)}\n\n[host.{json.dumps(mirror)}]\n"
        '  capabilities = ["pull", "resolve"]\n'
    )
