"""A Pod's volumes as directories of this node.

Each is below ROOT/pods/UID/volumes, but for what outlives the Pod (claims, paths of the node) and
what is kept in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.node.api_volumes import KINDS, ApiVolumes
from agents.node.claim_volumes import ClaimError, ClaimVolumes
from agents.node.directory_tree import remove_tree
from agents.node.environment import ConfigError
from agents.node.fields import FieldError, Place
from agents.node.host_path import host_path
from agents.node.volume_files import VolumeError, write_files
from agents.node.volume_owner import give_to_group, readable_by_group
from kubraft.api.object import Object, uid_of
from kubraft.log import get_logger

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own in it
_EMPTY_MODE = 0o777

log = get_logger("node.volumes")


class VolumeSetUpError(Exception):
    """One volume of a Pod cannot be had; the message is that of event FailedMount."""


class Volumes:
    """The volumes of all Pods of this node."""

    def __init__(
        self,
        root: Path,
        files: ApiVolumes,
        claims: ClaimVolumes,
        memory: Path = _SHARED_MEMORY,
    ) -> None:
        self._root = root
        self._files = files
        self._claims = claims
        name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
        self._memory = memory / f"kubraft-{os.geteuid()}-{name}"
        self._given: set[tuple[str, str]] = set()  # Pod's uid and volume: has its group

    def pod_directory(self, uid: str) -> Path:
        """Where everything of a Pod is."""
        return self._root / "pods" / uid

    def uids(self) -> list[str]:
        """The Pods of which there is something."""
        found: set[str] = set()
        for directory in (self._root / "pods", self._memory):
            with contextlib.suppress(FileNotFoundError):
                found.update(path.name for path in directory.iterdir())
        return sorted(found)

    async def set_up(self, pod: Object, place: Place) -> dict[str, Path]:
        """Make all volumes, or bring their files up to date; safe to repeat.

        Returns:
            Each volume's directory (or file, for some of hostPath).

        Raises:
            VolumeSetUpError: the first one that cannot be had.
            ApiError: the API could not be asked.
        """
        paths = {}
        for volume in pod["spec"].get("volumes") or ():
            name = volume["name"]
            try:
                paths[name] = await self._set_up(pod, volume, place)
            except ClaimError as error:
                raise VolumeSetUpError(_claim_failure(pod, volume, str(error))) from error
            except (VolumeError, ConfigError, FieldError) as error:
                raise VolumeSetUpError(_failure(name, str(error))) from error
            except OSError as error:
                cause = f"{error.filename or name}: {error.strerror or error}"
                raise VolumeSetUpError(_failure(name, cause)) from error
        return paths

    def remove(self, uid: str) -> None:
        """Delete all that a Pod had; what its volumes of claims and hostPath have is not here."""
        self._given = {each for each in self._given if each[0] != uid}
        for directory in (self.pod_directory(uid), self._memory / uid):
            try:
                remove_tree(directory)
            except OSError as error:
                log.warning("volumes not removed", pod_uid=uid, cause=str(error))
        with contextlib.suppress(OSError):  # others have theirs in it
            self._memory.rmdir()

    async def _set_up(self, pod: Object, volume: Mapping[str, Any], place: Place) -> Path:
        if "hostPath" in volume:
            return await asyncio.to_thread(host_path, volume["hostPath"])
        if "persistentVolumeClaim" in volume or "ephemeral" in volume:
            return await self._of_claim(pod, volume)
        kind = next((kind for kind in volume if kind != "name"), "emptyDir")
        source = volume.get(kind) or {}
        if kind == "emptyDir":
            folder = self.empty_directory(pod, volume["name"])
            return await asyncio.to_thread(self._make_empty, pod, folder)
        if kind not in KINDS:
            raise VolumeError(f"volumes of type {kind} are not supported by this node agent")
        folder = self._folder(pod, kind, volume["name"])
        files = readable_by_group(await self._files.files(pod, kind, source, place), pod["spec"])
        if await asyncio.to_thread(write_files, folder, files):
            await asyncio.to_thread(give_to_group, folder, pod["spec"], read_only=True)
        return folder

    def _folder(self, pod: Object, kind: str, name: str) -> Path:
        return self.pod_directory(uid_of(pod)) / "volumes" / kind / name

    def empty_directory(self, pod: Object, name: str) -> Path:
        """Where one of the Pod's empty directories is, or will be."""
        volumes = pod["spec"].get("volumes") or ()
        source = next((v.get("emptyDir") or {} for v in volumes if v["name"] == name), {})
        if source.get("medium") == "Memory" and os.access(self._memory.parent, os.W_OK):
            return self._memory / uid_of(pod) / name
        return self._folder(pod, "emptyDir", name)

    def _make_empty(self, pod: Object, folder: Path) -> Path:
        if folder.is_relative_to(self._memory):
            self._memory.mkdir(mode=0o700, exist_ok=True)
            if self._memory.stat().st_uid != os.geteuid():
                raise VolumeError(f"{self._memory} is not ours")
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            # Under its name only when it is all right: a Pod must not find it half made.
            fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
            fresh.chmod(_EMPTY_MODE)
            give_to_group(fresh, pod["spec"])
            fresh.rename(folder)
        return folder

    async def _of_claim(self, pod: Object, volume: Mapping[str, Any]) -> Path:
        given = volume.get("persistentVolumeClaim")
        name = given["claimName"] if given else f"{pod['metadata']['name']}-{volume['name']}"
        found = await self._claims.volume_of(pod, name, own=given is None)
        try:
            return await asyncio.to_thread(self._claimed, pod, volume["name"], found, given or {})
        except VolumeError as error:
            raise VolumeSetUpError(_failure(found["metadata"]["name"], str(error))) from error

    def _claimed(self, pod: Object, name: str, volume: Object, given: Mapping[str, Any]) -> Path:
        path = self._claims.path(volume)
        key, may_give = (uid_of(pod), name), "hostPath" not in volume["spec"]
        if may_give and not given.get("readOnly") and key not in self._given:
            give_to_group(path, pod["spec"])
            self._given.add(key)
        return path


def _failure(name: str, cause: str) -> str:
    return f'MountVolume.SetUp failed for volume "{name}" : {cause}'


def _claim_failure(pod: Object, volume: Mapping[str, Any], cause: str) -> str:
    name, metadata = volume["name"], pod["metadata"]
    given = volume.get("persistentVolumeClaim") or {}
    claim = given.get("claimName") or f"{metadata['name']}-{name}"
    return (
        f"Unable to attach or mount volumes: unmounted volumes=[{name}], unattached volumes=[], "
        f"failed to process volumes=[{name}]: error processing PVC "
        f"{metadata['namespace']}/{claim}: {cause}"
    )
