"""A Pod's volumes as directories of this node, and a container's mounts of them."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from agents.node.environment import ConfigError, Fetch, data_of, expand
from agents.node.fields import FieldError, Place, field_value, resource_value
from agents.node.volume_files import (
    DEFAULT_MODE,
    File,
    Files,
    VolumeError,
    safe_path,
    select,
    write_files,
)
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import CONFIG_MAP, SECRET, GroupVersionKind
from kubraft.api.object import Object
from kubraft.pb.criv1 import api_pb2 as cri

# Pod, audience ("" for the API server), seconds -> token
Token = Callable[[Object, str, int], Awaitable[str]]
_TOKEN_S = 3600
_HOST_PATH_CHECKS = {
    "Directory": (Path.is_dir, "a directory"),
    "File": (Path.is_file, "a file"),
    "Socket": (Path.is_socket, "a socket"),
    "CharDevice": (Path.is_char_device, "a character device"),
    "BlockDevice": (Path.is_block_device, "a block device"),
}


class VolumeSetUpError(Exception):
    """One volume of a Pod cannot be had."""

    def __init__(self, volume: str, cause: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {cause}')


class Volumes:
    """The volumes of all Pods of this node, below ROOT/pods/UID/volumes."""

    def __init__(self, root: Path, fetch: Fetch, token: Token) -> None:
        self._root = root
        self._fetch = fetch
        self._token = token

    def pod_directory(self, uid: str) -> Path:
        """Where everything of a Pod is."""
        return self._root / "pods" / uid

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
            try:
                paths[volume["name"]] = await self._set_up(pod, volume, place)
            except (VolumeError, ConfigError, FieldError) as error:
                raise VolumeSetUpError(volume["name"], str(error)) from error
            except OSError as error:
                cause = f"{error.filename or volume['name']}: {error.strerror or error}"
                raise VolumeSetUpError(volume["name"], cause) from error
        return paths

    def remove(self, uid: str) -> None:
        """Delete all that a Pod had; its hostPath volumes are not here."""
        shutil.rmtree(self.pod_directory(uid), ignore_errors=True)

    async def _set_up(self, pod: Object, volume: Mapping[str, Any], place: Place) -> Path:
        if "hostPath" in volume:
            return host_path(volume["hostPath"])
        kind = next((kind for kind in volume if kind != "name"), "emptyDir")
        folder: Path = (
            self.pod_directory(pod["metadata"]["uid"]) / "volumes" / kind / volume["name"]
        )
        if kind == "emptyDir":
            _make_empty(folder)
            return folder
        write_files(folder, await self._files(pod, kind, volume[kind] or {}, place))
        return folder

    async def _files(
        self, pod: Object, kind: str, source: Mapping[str, Any], place: Place
    ) -> Files:
        mode = source.get("defaultMode") or DEFAULT_MODE
        match kind:
            case "configMap":
                return await self._data(CONFIG_MAP, pod, source, source.get("name"), mode)
            case "secret":
                return await self._data(SECRET, pod, source, source.get("secretName"), mode)
            case "downwardAPI":
                return _downward(pod, source.get("items") or (), mode, place)
            case "projected":
                files: Files = {}
                for part in source.get("sources") or ():
                    files |= await self._projected(pod, part, mode, place)
                return files
        raise VolumeError(f"volumes of type {kind} are not supported by this node agent")

    async def _projected(
        self, pod: Object, part: Mapping[str, Any], mode: int, place: Place
    ) -> Files:
        if source := part.get("configMap"):
            return await self._data(CONFIG_MAP, pod, source, source.get("name"), mode)
        if source := part.get("secret"):
            return await self._data(SECRET, pod, source, source.get("name"), mode)
        if source := part.get("downwardAPI"):
            return _downward(pod, source.get("items") or (), mode, place)
        if source := part.get("serviceAccountToken"):
            seconds = source.get("expirationSeconds") or _TOKEN_S
            token = await self._token(pod, source.get("audience") or "", seconds)
            return {safe_path(source["path"]): File(token.encode(), mode)}
        raise VolumeError(f"projected source {next(iter(part), '')} is not supported")

    async def _data(
        self,
        gvk: GroupVersionKind,
        pod: Object,
        source: Mapping[str, Any],
        name: str | None,
        mode: int,
    ) -> Files:
        namespace = pod["metadata"]["namespace"]
        what = f"{gvk.kind.lower()} {name}"
        try:
            obj = await self._fetch(gvk, namespace, name or "")
        except NotFoundError as error:
            if source.get("optional"):
                return {}
            raise VolumeError(f'{gvk.kind.lower()} "{name}" not found') from error
        return select(data_of(obj), source, mode, what=what)


def _make_empty(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o777)


def _downward(pod: Object, items: Any, mode: int, place: Place) -> Files:
    files: Files = {}
    for item in items:
        if "fieldRef" in item:
            text = field_value(pod, item["fieldRef"]["fieldPath"], place)
        else:
            reference = item["resourceFieldRef"]
            container = next(
                (
                    c
                    for c in pod["spec"]["containers"]
                    if c["name"] == reference.get("containerName")
                ),
                pod["spec"]["containers"][0],
            )
            text = resource_value(container, reference, place)
        files[safe_path(item["path"])] = File(text.encode(), item.get("mode") or mode)
    return files


def host_path(source: Mapping[str, Any]) -> Path:
    path, kind = Path(source["path"]), source.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(exist_ok=True)
    elif kind in _HOST_PATH_CHECKS:
        check, words = _HOST_PATH_CHECKS[kind]
        if not check(path):
            raise VolumeError(f"hostPath type check failed: {path} is not {words}")
    elif not path.exists():
        path.mkdir(parents=True, exist_ok=True)
    return path


def mounts(
    container: Mapping[str, Any], paths: Mapping[str, Path], env: Mapping[str, str]
) -> list[cri.Mount]:
    """A container's mounts, with sub-paths resolved (and made, where they do not exist).

    Raises:
        ConfigError: a mount names no volume, or a sub-path leaves its volume.
    """
    result = []
    for wanted in container.get("volumeMounts") or ():
        if wanted["name"] not in paths:
            raise ConfigError(f'volume mount "{wanted["name"]}" names no volume of the pod')
        source = paths[wanted["name"]]
        sub_path = wanted.get("subPath") or expand(wanted.get("subPathExpr") or "", env)
        if sub_path:
            source = _sub_path(source, sub_path)
        result.append(
            cri.Mount(
                container_path=wanted["mountPath"],
                host_path=str(source),
                readonly=bool(wanted.get("readOnly")),
            )
        )
    return result


def _sub_path(volume: Path, sub_path: str) -> Path:
    try:
        path = volume / safe_path(sub_path)
    except VolumeError as error:
        raise ConfigError(f"failed to create subPath directory for volumeMount: {error}") from error
    inside = path.resolve().is_relative_to(volume.resolve())
    if not inside:
        raise ConfigError(f"subPath {sub_path!r} leads out of its volume")
    if not path.exists():
        path.mkdir(parents=True)
    return path
