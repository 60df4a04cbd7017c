"""A container's mounts of its Pod's volumes, sub-paths included.

A container may write into a volume while another one's sub-path in it is looked up, so what is
mounted is the place that was found and judged, without any symbolic link on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agents.node.environment import ConfigError, expand
from agents.node.volume_files import VolumeError, safe_path
from kubraft.pb.criv1 import api_pb2 as cri

# Volumes that only the node agent writes, as upstream.
READ_ONLY: Final = frozenset({"configMap", "secret", "downwardAPI", "projected"})
_PROPAGATIONS: Final = {
    "HostToContainer": cri.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": cri.PROPAGATION_BIDIRECTIONAL,
}
_SUB_PATH_MODE: Final = 0o777


def mounts(
    pod_spec: Mapping[str, Any],
    container: Mapping[str, Any],
    paths: Mapping[str, Path],
    env: Mapping[str, str],
) -> list[cri.Mount]:
    """A container's mounts, with sub-paths resolved (and made, where they do not exist).

    Raises:
        ConfigError: a mount names no volume, or a sub-path leaves its volume.
    """
    volumes = {volume["name"]: volume for volume in pod_spec.get("volumes") or ()}
    if container.get("volumeDevices"):
        raise ConfigError("volumeDevices are not supported by this node agent")
    return [
        _mount(wanted, volumes.get(wanted["name"]) or {}, container, paths, env)
        for wanted in container.get("volumeMounts") or ()
    ]


def _mount(
    wanted: Mapping[str, Any],
    volume: Mapping[str, Any],
    container: Mapping[str, Any],
    paths: Mapping[str, Path],
    env: Mapping[str, str],
) -> cri.Mount:
    name = wanted["name"]
    if name not in paths:
        raise ConfigError(f'volume mount "{name}" names no volume of the pod')
    source = paths[name]
    if sub_path := wanted.get("subPath") or _expanded(wanted, env):
        source = _sub_path(source, sub_path, name, container["name"])
    claim = volume.get("persistentVolumeClaim") or {}
    read_only = wanted.get("readOnly") or claim.get("readOnly") or READ_ONLY & volume.keys()
    return cri.Mount(
        container_path=wanted["mountPath"],
        host_path=str(source),
        readonly=bool(read_only),
        propagation=_PROPAGATIONS.get(
            wanted.get("mountPropagation") or "", cri.PROPAGATION_PRIVATE
        ),
    )


def _expanded(wanted: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """A subPathExpr with its variables; all of them must be there."""
    expression = wanted.get("subPathExpr") or ""
    text = expand(expression, env)
    if expression and "$(" in text.replace("$$(", ""):
        raise ConfigError(f'failed to expand subPath for volumeMount "{wanted["name"]}"')
    return text


def _sub_path(volume: Path, sub_path: str, name: str, container: str) -> Path:
    failure = f'failed to prepare subPath for volumeMount "{name}" of container "{container}"'
    try:
        safe_path(sub_path)
        root = volume.resolve()
        found = (root / sub_path).resolve()
        if not found.is_relative_to(root):
            raise ConfigError(f"{failure}: subpath {sub_path!r} leads out of its volume")
        if not found.exists():
            _make(root, found)
    except (VolumeError, OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
        raise ConfigError(f"{failure}: {error}") from error
    return found


def _make(root: Path, wanted: Path) -> None:
    """Make the directories below `root`, for whatever user the container has."""
    mode = root.stat().st_mode & _SUB_PATH_MODE
    for path in [*reversed(wanted.relative_to(root).parents), wanted.relative_to(root)]:
        step = root / path
        if not step.exists():
            step.mkdir()
            step.chmod(mode)
