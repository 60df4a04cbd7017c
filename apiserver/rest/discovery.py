"""What is served, as clients discover it: the documents behind /api and /apis. Pure.

Source: Kubernetes documentation, "Discovery API", "Aggregated discovery"; apidiscovery.k8s.io/v2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from apiserver.aggregation.aggregator import Described
from apiserver.aggregation.services import GroupVersion, Priority, ordered
from apiserver.connect.options import SUBRESOURCES, options_kind
from apiserver.registry.resource import Resource
from apiserver.rest.media import JSON, clauses
from apiserver.rest.objects import verbs_of
from kubraft.api import gvk
from kubraft.api.errors import NotAcceptableError
from kubraft.api.gvk import GroupVersionKind

AGGREGATED = "APIGroupDiscoveryList"
GROUP = "apidiscovery.k8s.io"
VERSIONS = ("v2", "v2beta1")
NO_PRIORITIES: Mapping[GroupVersion, Priority] = {}

# The kind of what is sent to, and comes from, a subresource; else it is its resource's own.
_KINDS = {
    "scale": gvk.SCALE,
    "binding": gvk.BINDING,
    "eviction": gvk.EVICTION,
    "token": gvk.TOKEN_REQUEST,
}


class Document(NamedTuple):
    """An answer that stays the same until the resources change."""

    raw: bytes
    content_type: str
    etag: str


class Discovery:
    """All documents, made when they are first asked for."""

    def __init__(
        self,
        resources: Iterable[Resource],
        address: str,
        remotes: Iterable[Described] = (),
        priorities: Mapping[GroupVersion, Priority] = NO_PRIORITIES,
    ) -> None:
        """Take over what is served.

        Args:
            resources: of this server; a version that another has is left out.
            address: where clients may reach the server: host and port.
            remotes: the versions that other servers have.
            priorities: those that APIServices give.
        """
        self._remotes = {each.remote.group_version: each for each in remotes}
        found: dict[GroupVersion, list[Resource]] = {}
        for row in resources:
            if row.gvk[:2] not in self._remotes:
                found.setdefault(row.gvk[:2], []).append(row)
        order = ordered((*found, *self._remotes), priorities)
        self._groups: dict[str, dict[str, list[Resource]]] = {
            group: {version: found.get((group, version), []) for version in versions}
            for group, versions in order.items()
        }
        self._address = address
        self._made: dict[tuple[str, str], Document] = {}

    def group_versions(self) -> Iterator[tuple[str, str, list[Resource]]]:
        """Group, version and rows of each version that is served."""
        for group, versions in self._groups.items():
            for version, rows in versions.items():
                if rows:
                    yield group, version, rows

    def find(self, path: str, accept: str) -> Document | None:
        """The document at `path` in the form that is accepted; None where there is none.

        Raises:
            NotAcceptableError: the document has no such form.
        """
        path = path.rstrip("/")
        version = _form(accept, aggregated=path in ("/api", "/apis"))
        document = self._made.get((path, version))
        if document is None:
            content = self._aggregated(path, version) if version else self._plain(path)
            if content is None:
                return None
            document = self._made[path, version] = _document(content, version)
        return document

    def _plain(self, path: str) -> dict[str, Any] | None:
        parts = path.strip("/").split("/")
        match parts:
            case ["api"]:
                return self._core()
            case ["apis"]:
                groups = [self._group(name) for name in self._groups if name]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ["api", version] if version in self._groups.get("", {}):
                return _resource_list("", version, self._groups[""][version])
            case ["apis", group] if group in self._groups:
                return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}
            case ["apis", group, version] if group and version in self._groups.get(group, {}):
                return _resource_list(group, version, self._groups[group][version])
        return None

    def _core(self) -> dict[str, Any]:
        address = {"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}
        return {
            "kind": "APIVersions",
            "versions": list(self._groups.get("", {})),
            "serverAddressByClientCIDRs": [address],
        }

    def _group(self, name: str) -> dict[str, Any]:
        versions = [
            {"groupVersion": f"{name}/{version}", "version": version}
            for version in self._groups[name]
        ]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _aggregated(self, path: str, version: str) -> dict[str, Any]:
        names = [name for name in self._groups if (not name) == (path == "/api")]
        return {
            "kind": AGGREGATED,
            "apiVersion": f"{GROUP}/{version}",
            "metadata": {},
            "items": [self._group_discovery(name) for name in names],
        }

    def _group_discovery(self, name: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "creationTimestamp": None} if name else {},
            "versions": [
                self._version(name, version, rows) for version, rows in self._groups[name].items()
            ],
        }

    def _version(self, group: str, version: str, rows: list[Resource]) -> dict[str, Any]:
        remote = self._remotes.get((group, version))
        if remote is None:
            shown = [_discovered(row) for row in sorted(rows, key=_plural)]
            return {"version": version, "resources": shown, "freshness": "Current"}
        known = remote.description
        fresh = remote.remote.available and bool(known and known.resources)
        return {
            "version": version,
            "resources": list(known.resources) if known else [],
            "freshness": "Current" if fresh else "Stale",
        }


def subresource_kind(resource: Resource, subresource: str) -> GroupVersionKind:
    """The kind of a subresource."""
    if subresource in SUBRESOURCES:
        return options_kind(resource.plural, subresource)
    return _KINDS.get(subresource, resource.gvk)


def _form(accept: str, *, aggregated: bool) -> str:
    """The version of the aggregated form, or "" for the plain one."""
    for clause in clauses(accept):
        if clause.media not in (JSON, "*/*", "application/*"):
            continue
        wanted = clause.parameters
        if not wanted.get("as"):
            return ""
        if (
            aggregated
            and wanted["as"] == AGGREGATED
            and wanted.get("g") == GROUP
            and wanted.get("v") in VERSIONS
        ):
            return wanted["v"]
    raise NotAcceptableError(f"only the following media types are accepted: {JSON}")


def _document(content: dict[str, Any], version: str) -> Document:
    raw = orjson.dumps(content)
    kind = f"{JSON};g={GROUP};v={version};as={AGGREGATED}" if version else JSON
    return Document(raw, kind, f'"{hashlib.sha512(raw).hexdigest().upper()}"')


def _resource_list(group: str, version: str, rows: list[Resource]) -> dict[str, Any]:
    shown: list[dict[str, Any]] = []
    for row in rows:
        own: dict[str, Any] = {
            "name": row.plural,
            "singularName": row.singular,
            "namespaced": row.namespaced,
            "kind": row.gvk.kind,
            "verbs": list(row.verbs),
        }
        if row.short_names:
            own["shortNames"] = list(row.short_names)
        if row.categories:
            own["categories"] = list(row.categories)
        shown.append(own)
        for name in row.subresources:
            kind = subresource_kind(row, name)
            sub: dict[str, Any] = {
                "name": f"{row.plural}/{name}",
                "singularName": "",
                "namespaced": row.namespaced,
                "kind": kind.kind,
                "verbs": list(verbs_of(name)),
            }
            if kind[:2] != row.gvk[:2]:
                sub |= {"group": kind.group, "version": kind.version}
            shown.append(sub)
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": sorted(shown, key=lambda each: each["name"]),
    }


def _plural(row: Resource) -> str:
    return row.plural


def _discovered(row: Resource) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "resource": row.plural,
        "responseKind": _kind(row.gvk),
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": list(row.verbs),
    }
    if row.short_names:
        shown["shortNames"] = list(row.short_names)
    if row.categories:
        shown["categories"] = list(row.categories)
    if row.subresources:
        shown["subresources"] = [
            {
                "subresource": name,
                "responseKind": _kind(subresource_kind(row, name)),
                "verbs": list(verbs_of(name)),
            }
            for name in sorted(row.subresources)
        ]
    return shown


def _kind(kind: GroupVersionKind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}
