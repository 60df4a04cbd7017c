"""Pods from files of this node, and their mirrors in the API, which only show them.

A static Pod is known by the hash of its manifest, so a changed one is another Pod. Its mirror has a
name, a uid and a status of its own; deleting the mirror does nothing to the Pod.

Source: Kubernetes documentation, "Create static Pods".
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from kubraft.api.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import POD
from kubraft.api.object import Object, ObjectKey, annotations_of, is_terminating, key_of, uid_of
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.log import get_logger

MIRROR = "kubernetes.io/config.mirror"
_HASH = "kubernetes.io/config.hash"
_SOURCE = "kubernetes.io/config.source"
_SUFFIXES = {".yaml", ".yml", ".json"}
_MANIFEST_BYTES_MAX = 1024 * 1024
_RETRY_S = 1.0

log = get_logger("node.static")


class ManifestError(Exception):
    """A file holds no Pod."""


def static_pod(text: str, node: str) -> Object:
    """The Pod of a manifest, as it runs on `node`.

    Raises:
        ManifestError: it is none.
    """
    try:
        pod = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ManifestError(f"couldn't parse as pod: {error}") from error
    if not isinstance(pod, dict) or (pod.get("apiVersion"), pod.get("kind")) != ("v1", "Pod"):
        raise ManifestError("couldn't parse as pod: it is no v1 Pod")
    metadata, spec = dict(pod.get("metadata") or {}), dict(pod.get("spec") or {})
    if not metadata.get("name") or not spec.get("containers"):
        raise ManifestError("invalid pod: metadata.name and spec.containers are required")
    uid = hashlib.sha256(f"{node}\n{text}".encode()).hexdigest()[:32]
    annotations = {**(metadata.get("annotations") or {}), _HASH: uid, _SOURCE: "file"}
    metadata |= {
        "name": f"{metadata['name']}-{node}",
        "namespace": metadata.get("namespace") or "default",
        "uid": uid,
        "annotations": annotations,
    }
    tolerations = [*(spec.get("tolerations") or ()), {"operator": "Exists", "effect": "NoExecute"}]
    spec |= {"nodeName": node, "tolerations": tolerations}
    spec.setdefault("enableServiceLinks", True)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def mirror_of(pod: Object, node_uid: str) -> Object:
    """What the API is shown of a static Pod; it goes with its Node."""
    metadata = {k: v for k, v in pod["metadata"].items() if k != "uid"}
    metadata["annotations"] = {**annotations_of(pod), MIRROR: uid_of(pod)}
    owner = {"apiVersion": "v1", "kind": "Node", "name": pod["spec"]["nodeName"], "uid": node_uid}
    metadata["ownerReferences"] = [{**owner, "controller": True}]
    return {**pod, "metadata": metadata}


def is_mirror(pod: Object) -> bool:
    """Whether this object only shows a static Pod."""
    return MIRROR in annotations_of(pod)


class StaticPods:
    """Follows a folder; `again` gets the uid of each static Pod that may have changed."""

    def __init__(
        self,
        folder: Path | None,
        node: str,
        client: ApiClient,
        clock: Clock,
        *,
        mirrors: Callable[[], Iterable[Object]],
        node_uid: Callable[[], str],
        again: Callable[[str], None],
        known: Callable[[str], bool],
        period_s: float,
    ) -> None:
        """`mirrors`: the Pods of this node in the API; `known`: whether a uid still has a life."""
        self._folder = folder
        self._node = node
        self._client = client
        self._clock = clock
        self._mirrors = mirrors
        self._node_uid = node_uid
        self._again = again
        self._known = known
        self._period_s = period_s
        self._pods: dict[str, Object] = {}  # by uid
        self._gone: dict[str, ObjectKey] = {}  # uids of former Pods that may still be ending
        self._changed = asyncio.Event()

    def find(self, uid: str) -> Object | None:
        """The static Pod `uid` with its mirror's status; None until its predecessor has ended."""
        pod = self._pods.get(uid)
        if pod is None or self._waits(pod):
            return None
        mirror = self._mirror(pod)
        metadata = dict(pod["metadata"])
        if mirror is not None:
            metadata["generation"] = mirror["metadata"].get("generation", 0)
        return {**pod, "metadata": metadata, "status": (mirror or {}).get("status") or {}}

    def _waits(self, pod: Object) -> bool:
        key = key_of(pod)
        return any(other == key and self._known(uid) for uid, other in self._gone.items())

    def _mirror(self, pod: Object) -> Object | None:
        key, uid = key_of(pod), uid_of(pod)
        for mirror in self._mirrors():
            if key_of(mirror) == key and annotations_of(mirror).get(MIRROR) == uid:
                return mirror
        return None

    def uid_in_api(self, pod: Object) -> str:
        """The uid under which the API has `pod`; "" where a mirror is still to be made."""
        if uid_of(pod) not in self._pods:
            return uid_of(pod)
        mirror = self._mirror(pod)
        return uid_of(mirror) if mirror is not None else ""

    def as_run(self, pod: Object) -> Object:
        """The static Pod that a mirror shows; any other Pod as it is."""
        if not is_mirror(pod):
            return pod
        return self.find(annotations_of(pod)[MIRROR]) or pod

    def on_mirror(self, old: Object | None, new: Object | None) -> None:
        """A mirror changed."""
        self._changed.set()
        for mirror in (old, new):
            if mirror is not None:
                self._again(annotations_of(mirror)[MIRROR])

    def ended(self, uid: str) -> None:
        """Nothing is left of Pod `uid`: one that waited for that may start."""
        key = self._gone.pop(uid, None)
        for other, pod in self._pods.items():
            if key_of(pod) == key:
                self._again(other)

    async def run(self) -> None:
        """Follow the folder and the mirrors until cancelled; without a folder the mirrors only."""
        while True:
            self._changed.clear()
            wait_s: float | None = self._period_s if self._folder is not None else None
            try:
                await self.scan()
                await self._show()
            except ApiError as error:
                log.warning("mirror not brought up to date", cause=error.message)
                wait_s = _RETRY_S
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def scan(self) -> None:
        """Read the folder."""
        if self._folder is None:
            return
        found = await asyncio.to_thread(_read_folder, self._folder, self._node)
        for uid, pod in self._pods.items():
            if uid not in found:
                self._gone[uid] = key_of(pod)
        changed = self._pods.keys() ^ found.keys()
        self._pods = found
        for uid in changed:
            self._again(uid)

    async def _show(self) -> None:
        """Make the mirrors that are missing, and delete those that show nothing.

        Raises:
            ApiError: the API server does not take it.
        """
        shown = set()
        for mirror in [pod for pod in self._mirrors() if is_mirror(pod)]:
            uid = annotations_of(mirror)[MIRROR]
            if uid in self._pods and not is_terminating(mirror):
                shown.add(uid)
                continue
            key = key_of(mirror)
            try:
                await self._client.delete(
                    POD, key.name, key.namespace, grace_period_s=0, uid=uid_of(mirror)
                )
            except (NotFoundError, ConflictError):
                continue
        node_uid = self._node_uid()
        for uid, pod in self._pods.items():
            if uid not in shown and node_uid:
                try:
                    await self._client.create(mirror_of(pod, node_uid))
                except AlreadyExistsError:
                    continue  # its predecessor's: its deletion, just asked for, is still to be seen


def _read_folder(folder: Path, node: str) -> dict[str, Object]:
    found: dict[str, Object] = {}
    try:
        paths = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        log.warning("manifests cannot be read", path=str(folder), cause=error.strerror)
        return found
    for path in paths:
        try:
            if path.suffix not in _SUFFIXES or path.stat().st_size > _MANIFEST_BYTES_MAX:
                continue
            pod: dict[str, Any] = static_pod(path.read_text(), node)
        except (OSError, ManifestError, UnicodeDecodeError) as error:
            log.warning("manifest not taken", path=str(path), cause=str(error))
        else:
            found[uid_of(pod)] = pod
    return found
