"""This node's directories of the local provisioner: made when first mounted, removed on reclaim.

The API server says which volumes are on this node. A volume that is deleted keeps a finalizer
until its directory is gone; whoever is killed on the way begins again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from agents.node.directory_tree import remove_tree
from agents.node.volume_files import VolumeError
from kubraft.api import storage
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import PERSISTENT_VOLUME
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of
from kubraft.client.client import ApiClient
from kubraft.client.controller import Controller
from kubraft.client.informer import Informer
from kubraft.log import get_logger

log = get_logger("node.local_volumes")


def directory(root: Path, volume: Object) -> Path:
    """Where the data of a volume is.

    Raises:
        VolumeError: its handle is no plain name.
    """
    handle = volume["spec"]["csi"].get("volumeHandle") or ""
    if not handle or "/" in handle or handle.startswith("."):
        raise VolumeError(f'invalid volumeHandle "{handle}"')
    return root / "local-volumes" / handle


def is_to_be_removed(volume: Object) -> bool:
    """Whether a volume's data has no more use: deleted, given back, and not to be retained."""
    policy = volume["spec"].get("persistentVolumeReclaimPolicy")
    return policy == "Delete" and is_done_with(volume)


def is_done_with(volume: Object) -> bool:
    """Whether a volume only waits for this node."""
    ours = storage.LOCAL_FINALIZER in (volume["metadata"].get("finalizers") or ())
    return ours and is_terminating(volume) and storage.phase_of(volume) != "Bound"


class LocalVolumes:
    """Follows the volumes of this node."""

    def __init__(self, client: ApiClient, root: Path, node: str) -> None:
        self._client = client
        self._root = root
        self._volumes = Informer(
            client, PERSISTENT_VOLUME, label_selector=f"{storage.LOCAL_NODE}={node}"
        )
        self._controller: Controller[ObjectKey] = Controller(
            "node.local_volumes", self.reconcile, workers=1
        )
        self._volumes.add_handler(self._on_volume)

    async def run(self) -> None:
        """Remove what is to be removed, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._volumes.run())
            group.create_task(self._controller.run())

    async def reconcile(self, key: ObjectKey) -> None:
        """Remove a volume's directory, then say so."""
        volume = self._volumes.get(key)
        if volume is None or not is_done_with(volume):
            return
        if is_to_be_removed(volume):
            path = directory(self._root, volume)
            await asyncio.to_thread(remove_tree, path)
            log.info("local volume removed", volume=key.name)
        metadata = dict(volume["metadata"])
        metadata["finalizers"] = [
            each for each in metadata["finalizers"] if each != storage.LOCAL_FINALIZER
        ]
        try:
            await self._client.update({**volume, "metadata": metadata})
        except NotFoundError:
            return

    def _on_volume(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and is_done_with(new):
            self._controller.queue.add(key_of(new))
