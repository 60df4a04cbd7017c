"""What other servers say of themselves: discovery and OpenAPI, as they were last seen.

Source: kube-aggregator's discovery and OpenAPI aggregation; apidiscovery.k8s.io/v2.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from apiserver.admission.webhook.address import NoAddressError
from apiserver.aggregation.backend import Backends, UnreachableError, whole
from apiserver.aggregation.identity import AGGREGATOR, identity
from apiserver.aggregation.services import GroupVersion, Remote
from kubraft.log import get_logger

DOCUMENT_BYTES_MAX: Final = 16 << 20
FETCH_TIMEOUT_S: Final = 15.0
DEPTH_MAX: Final = 100
TEXT_CHARS_MAX: Final = 256
TEXTS_MAX: Final = 100
_LISTS: Final = ("verbs", "shortNames", "categories")
_JSON: Final = "application/json"
_AS: Final = "as=APIGroupDiscoveryList"
_ACCEPT: Final = ",".join(
    (
        f"{_JSON};g=apidiscovery.k8s.io;v=v2;{_AS}",
        f"{_JSON};g=apidiscovery.k8s.io;v=v2beta1;{_AS}",
        _JSON,
    )
)

Json = dict[str, Any]

_log = get_logger("apiserver.aggregation")


@dataclass(frozen=True, slots=True)
class Description:
    """One version of a group, as the server that has it describes it."""

    # In the form of aggregated discovery.
    resources: tuple[Json, ...] = ()
    openapi_v3: bytes = b""
    openapi_v3_etag: str = ""
    # Paths below the version, and all definitions.
    openapi_v2: Json = field(default_factory=dict)


class RemoteDocuments:
    """Asks servers that are there, and keeps what they have said."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._found: dict[GroupVersion, Description] = {}
        self._tags: dict[tuple[GroupVersion, str], str] = {}
        # Counts changes of what is kept.
        self.generation = 0

    def find(self, remote: Remote) -> Description | None:
        """What a server has last said of a version; None where it was never asked."""
        return self._found.get(remote.group_version)

    def forget(self, key: GroupVersion) -> None:
        """Keep nothing of a version that no server has any more."""
        if self._found.pop(key, None) is not None:
            self.generation += 1
        for name in [name for name in self._tags if name[0] == key]:
            del self._tags[name]

    async def refresh(self, remote: Remote) -> None:
        """Ask again; what cannot be had now stays as it was."""
        before = self._found.get(remote.group_version) or Description()
        made = before
        for part in (self._with_resources, self._with_v3, self._with_v2):
            try:
                async with asyncio.timeout(FETCH_TIMEOUT_S):
                    made = await part(remote, made)
            except (TimeoutError, NoAddressError, UnreachableError, ValueError) as error:
                cause = str(error) or "timed out"
            except (TypeError, AttributeError) as error:  # what should be an object is none
                cause = f"malformed: {error}"
            else:
                continue
            _log.info("not_described", api_service=remote.name, cause=cause)
        if made != before or remote.group_version not in self._found:
            self._found[remote.group_version] = made
            self.generation += 1

    async def _with_resources(self, remote: Remote, before: Description) -> Description:
        base = "/apis" if remote.group else "/api"
        kind, raw = await self._get(remote, base, _ACCEPT)
        if _AS in kind.replace(" ", ""):
            found = _of_list(_object(raw), remote)
        else:
            _, raw = await self._get(remote, f"/{remote.place}", _JSON)
            found = resources_of(_object(raw), remote)
        return replace(before, resources=tuple(cleaned(each, remote) for each in found))

    async def _with_v3(self, remote: Remote, before: Description) -> Description:
        _, raw = await self._get(remote, "/openapi/v3", _JSON, missing=b'{"paths":{}}')
        place = (_object(raw).get("paths") or {}).get(remote.place)
        url = str((place or {}).get("serverRelativeURL") or "")
        known = (remote.group_version, "v3")
        if not url or self._tags.get(known) == url:
            return before
        path, _, query = url.partition("?")
        _, raw = await self._get(remote, path, _JSON, query=query)
        shallow(_object(raw))
        self._tags[known] = url
        etag = hashlib.sha512(raw).hexdigest().upper()
        return replace(before, openapi_v3=raw, openapi_v3_etag=etag)

    async def _with_v2(self, remote: Remote, before: Description) -> Description:
        known = (remote.group_version, "v2")
        _, raw = await self._get(remote, "/openapi/v2", _JSON, missing=b"{}")
        tag = hashlib.sha256(raw).hexdigest()
        if self._tags.get(known) == tag:
            return before
        part = part_of(_object(raw), f"/{remote.place}/")
        shallow(part)
        self._tags[known] = tag
        return replace(before, openapi_v2=part)

    async def _get(
        self, remote: Remote, path: str, accept: str, *, query: str = "", missing: bytes = b""
    ) -> tuple[str, bytes]:
        """Media type and body; `missing` where there is no such document."""
        headers = [*identity(AGGREGATOR), ("Accept", accept)]
        async with self._backends.ask(remote, "GET", path, query=query, headers=headers) as found:
            if found.status in (403, 404, 406) and missing:
                return "", missing
            if found.status != 200:
                raise UnreachableError(f"bad status from {path}: {found.status}")
            return found.headers.get("content-type", ""), await whole(found, DOCUMENT_BYTES_MAX)


def part_of(swagger: Json, prefix: str) -> Json:
    """The paths below `prefix` of an OpenAPI v2 document, and the definitions. Pure."""
    paths = swagger.get("paths") or {}
    kept = {path: item for path, item in paths.items() if path.startswith(prefix)}
    definitions = dict((swagger.get("definitions") or {}).items())
    return {"paths": kept, "definitions": definitions} if kept else {}


def shallow(value: Any) -> None:
    """Raises ValueError: it nests deeper than any schema, and would break who writes it."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError(f"nests deeper than {DEPTH_MAX} levels")


def cleaned(resource: Json, remote: Remote) -> Json:
    """A resource of aggregated discovery with what clients read of it, of the right types. Pure."""
    kind = _text_map(resource.get("responseKind") or {}, ("group", "version", "kind"))
    made: Json = {
        **_text_map(resource, ("resource", "singularResource")),
        "responseKind": {"group": remote.group, "version": remote.version, "kind": "", **kind},
        "scope": "Namespaced" if resource.get("scope") == "Namespaced" else "Cluster",
    }
    made |= {key: _texts(resource[key]) for key in _LISTS if resource.get(key)}
    if resource.get("subresources"):
        made["subresources"] = [
            {
                **_text_map(each, ("subresource",)),
                "responseKind": _text_map(
                    each.get("responseKind") or {}, ("group", "version", "kind")
                ),
                "verbs": _texts(each.get("verbs") or ()),
            }
            for each in resource["subresources"]
        ]
    return made


def _text_map(value: Json, names: tuple[str, ...]) -> dict[str, str]:
    return {name: str(value[name])[:TEXT_CHARS_MAX] for name in names if value.get(name)}


def _texts(values: Any) -> list[str]:
    return [str(value)[:TEXT_CHARS_MAX] for value in list(values)[:TEXTS_MAX]]


def resources_of(listing: Json, remote: Remote) -> list[Json]:
    """An APIResourceList in the form of aggregated discovery. Pure."""
    made: dict[str, Json] = {}
    below: list[Json] = []
    for each in listing.get("resources") or ():
        kind = {
            "group": each.get("group") or remote.group,
            "version": each.get("version") or remote.version,
            "kind": str(each.get("kind") or ""),
        }
        verbs = list(each.get("verbs") or ())
        name, _, sub = str(each.get("name") or "").partition("/")
        if sub:
            below.append({"of": name, "subresource": sub, "responseKind": kind, "verbs": verbs})
            continue
        made[name] = {
            "resource": name,
            "responseKind": kind,
            "scope": "Namespaced" if each.get("namespaced") else "Cluster",
            "singularResource": str(each.get("singularName") or ""),
            "verbs": verbs,
        }
        made[name] |= {key: each[key] for key in ("shortNames", "categories") if each.get(key)}
    for each in below:
        parent = made.get(each.pop("of"))
        if parent is not None:
            parent.setdefault("subresources", []).append(each)
    return [made[name] for name in sorted(made)]


def _of_list(groups: Json, remote: Remote) -> list[Json]:
    for group in groups.get("items") or ():
        if (group.get("metadata") or {}).get("name", "") == remote.group:
            for version in group.get("versions") or ():
                if version.get("version") == remote.version:
                    return list(version.get("resources") or ())
    return []


def _object(raw: bytes) -> Json:
    """Raises ValueError: it is none."""
    found = orjson.loads(raw)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - as what is no JSON at all
    return found
