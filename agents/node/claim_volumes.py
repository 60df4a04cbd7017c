"""From a Pod's claim to the directory of its volume.

Source: Kubernetes documentation, "Persistent Volumes"; messages of upstream's volume manager.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from agents.node import local_volumes
from agents.node.environment import Fetch
from agents.node.host_path import host_path
from agents.node.volume_files import VolumeError
from kubraft.api import storage
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM
from kubraft.api.object import Object, is_terminating, uid_of

_DIRECTORY_MODE = 0o777


class ClaimError(VolumeError):
    """A claim gives no volume; the message is upstream's."""


class ClaimVolumes:
    """The volumes of claims on this node."""

    def __init__(
        self, root: Path, fetch: Fetch, node: str, labels: Callable[[], Mapping[str, str]]
    ) -> None:
        self._root = root
        self._fetch = fetch
        self._node = node
        self._labels = labels

    async def volume_of(self, pod: Object, claim_name: str, *, own: bool) -> Object:
        """The volume that a claim of the Pod has.

        Args:
            own: whether the claim is that of an ephemeral volume, and must be the Pod's.

        Raises:
            ClaimError: it has none, or it is not for this Pod.
            ApiError: the API could not be asked.
        """
        namespace = pod["metadata"]["namespace"]
        try:
            claim = await self._fetch(PERSISTENT_VOLUME_CLAIM, namespace, claim_name)
        except NotFoundError as error:
            raise ClaimError(f"failed to fetch PVC from API server: {error.message}") from error
        if own and not storage.is_made_for(claim, pod):
            raise ClaimError(
                f"PVC {namespace}/{claim_name} was not created for pod "
                f"{namespace}/{pod['metadata']['name']} (pod is not owner)"
            )
        if is_terminating(claim):
            raise ClaimError("PVC is being deleted")
        name = claim["spec"].get("volumeName") or ""
        if storage.phase_of(claim) != "Bound" or not name:
            raise ClaimError("PVC is not bound")
        try:
            volume = await self._fetch(PERSISTENT_VOLUME, "", name)
        except NotFoundError as error:
            raise ClaimError(
                f"failed to fetch PV {name} from API server: {error.message}"
            ) from error
        given_to = (volume["spec"].get("claimRef") or {}).get("uid", "")
        if given_to != uid_of(claim):
            raise ClaimError(
                f'PV "{name}" spec.claimRef.UID "{given_to}" does not match PVC.UID '
                f'"{uid_of(claim)}"'
            )
        return volume

    def path(self, volume: Object) -> Path:
        """The directory of a volume, made where it is ours to make.

        Raises:
            VolumeError: it is not to be had on this node.
            OSError: it cannot be made.
        """
        spec = volume["spec"]
        if storage.mode_of(volume) != "Filesystem":
            raise VolumeError("volume has volumeMode Block, but is specified in volumeMounts")
        if not storage.reaches(volume, self._node, self._labels()):
            raise VolumeError("storage node affinity check failed: no matching NodeSelectorTerms")
        if (spec.get("csi") or {}).get("driver") == storage.LOCAL_PROVISIONER:
            path = local_volumes.directory(self._root, volume)
            if not path.exists():
                path.mkdir(parents=True)
                path.chmod(_DIRECTORY_MODE)
            return path
        if "local" in spec:
            return _local(Path(spec["local"]["path"]))
        if "hostPath" in spec:
            return host_path(spec["hostPath"])
        raise VolumeError("no volume plugin matched")


def _local(path: Path) -> Path:
    if ".." in path.parts:
        raise VolumeError(f"path {path} must not contain '..'")
    if not path.exists():
        raise VolumeError(f'path "{path}" does not exist')
    return path
