"""Volumes whose files come from the API: configMap, secret, downwardAPI, projected, tokens.

Source: Kubernetes documentation, "Projected Volumes", "Downward API"; upstream's messages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from agents.node.environment import Fetch, data_of
from agents.node.fields import Place, field_value, resource_value
from agents.node.volume_files import DEFAULT_MODE, File, Files, VolumeError, safe_path, select
from agents.node.volume_owner import group_of
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import CONFIG_MAP, SECRET, GroupVersionKind
from kubraft.api.object import Object
from kubraft.api.pods import all_containers

# Pod, audience ("" for the API server), seconds -> token
Token = Callable[[Object, str, int], Awaitable[str]]
_TOKEN_S = 3600
_TOKEN_MODE_OF_GROUP = 0o600
KINDS = frozenset({"configMap", "secret", "downwardAPI", "projected"})


class ApiVolumes:
    """The files of such volumes, as they should be now."""

    def __init__(self, fetch: Fetch, token: Token) -> None:
        self._fetch = fetch
        self._token = token

    async def files(self, pod: Object, kind: str, source: Mapping[str, Any], place: Place) -> Files:
        """The files of a volume of one of KINDS.

        Raises:
            VolumeError: something that is not optional is missing.
            FieldError: a field names nothing.
            ApiError: the API could not be asked.
        """
        mode = _mode(source.get("defaultMode"), DEFAULT_MODE)
        if kind != "projected":
            return await self._part(pod, kind, source, mode, place)
        files: Files = {}
        failures = []
        for part in source.get("sources") or ():
            for name, of_part in part.items():
                try:
                    files |= await self._part(pod, name, of_part or {}, mode, place)
                except VolumeError as error:
                    failures.append(str(error))
        if failures:
            raise VolumeError(failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]")
        return files

    async def _part(
        self, pod: Object, kind: str, source: Mapping[str, Any], mode: int, place: Place
    ) -> Files:
        match kind:
            case "configMap":
                what = "configmap references non-existent config key"
                data = await self._data(CONFIG_MAP, pod, source, source.get("name"))
                return {} if data is None else select(data, source, mode, lacks=what)
            case "secret":
                name = source.get("secretName") or source.get("name")
                what = "references non-existent secret key"
                data = await self._data(SECRET, pod, source, name)
                return {} if data is None else select(data, source, mode, lacks=what)
            case "downwardAPI":
                return downward(pod, source.get("items") or (), mode, place)
            case "serviceAccountToken":
                seconds = source.get("expirationSeconds") or _TOKEN_S
                token = await self._token(pod, source.get("audience") or "", seconds)
                if group_of(pod["spec"]) is not None:
                    mode = _TOKEN_MODE_OF_GROUP  # and the group's bits, when it is given to it
                return {safe_path(source["path"]): File(token.encode(), mode)}
        raise VolumeError(f"projected source {kind} is not supported by this node agent")

    async def _data(
        self, gvk: GroupVersionKind, pod: Object, source: Mapping[str, Any], name: str | None
    ) -> dict[str, bytes] | None:
        """The keys of a ConfigMap or Secret; None where it is missing and may be."""
        try:
            return data_of(await self._fetch(gvk, pod["metadata"]["namespace"], name or ""))
        except NotFoundError as error:
            if source.get("optional"):
                return None
            raise VolumeError(f'{gvk.kind.lower()} "{name}" not found') from error


def downward(pod: Object, items: Iterable[Any], mode: int, place: Place) -> Files:
    """Files with what the Pod's object says.

    Raises:
        FieldError: it does not say that.
    """
    files: Files = {}
    for item in items:
        if item.get("fieldRef"):
            text = field_value(pod, item["fieldRef"]["fieldPath"], place)
        else:
            reference = item["resourceFieldRef"]
            text = resource_value(_container(pod, reference), reference, place)
        files[safe_path(item["path"])] = File(text.encode(), _mode(item.get("mode"), mode))
    return files


def _container(pod: Object, reference: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = reference.get("containerName")
    for container in all_containers(pod["spec"]):
        if container["name"] == wanted:
            return container
    raise VolumeError(f"container {wanted} not found")


def _mode(given: int | None, default: int) -> int:
    return default if given is None else given
