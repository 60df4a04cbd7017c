"""The metrics server's HTTPS port: who asks, whether it may, and the answer.

Source: Kubernetes documentation, "Resource metrics pipeline"; upstream's generic API server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qs

import orjson

from agents.metrics import views
from agents.metrics.samples import PodKey
from agents.metrics.storage import Storage
from agents.metrics.views import API_VERSION, GROUP, KINDS, VERSION
from kubraft.api.errors import (
    ApiError,
    BadRequestError,
    ForbiddenError,
    MethodNotAllowedError,
    NotFoundError,
    UnauthorizedError,
)
from kubraft.api.fields import FieldSelector, parse_field_selector
from kubraft.api.labels import LabelSelector, parse_selector
from kubraft.api.object import Object, ObjectKey
from kubraft.delegated_auth import DelegatedAuth
from kubraft.grpc_server.exchange import Exchange, HttpResponse

_PROBES: Final = ("/healthz", "/livez", "/readyz")
_JSON: Final = "application/json"
_PARAMETERS_MAX: Final = 100
_NOT_FOUND: Final = "404 page not found\n"


class Objects(Protocol):
    """The Nodes or Pods that there are."""

    def get(self, key: ObjectKey) -> Object | None:
        """One of them."""
        ...

    def list(self, namespace: str = "") -> list[Object]:
        """All, or those of a namespace."""
        ...


class Target(NamedTuple):
    """What a path below the group's version names."""

    resource: str
    namespace: str = ""
    name: str = ""


class Front:
    """Handles every request of the port."""

    def __init__(
        self,
        storage: Storage,
        auth: DelegatedAuth,
        *,
        nodes: Objects,
        pods: Objects,
        now: Callable[[], datetime],
        is_ready: Callable[[], bool],
    ) -> None:
        self._storage = storage
        self._auth = auth
        self._objects = {"nodes": nodes, "pods": pods}
        self._now = now
        self._is_ready = is_ready
        v3 = orjson.dumps(views.openapi_v3())
        place = f"apis/{API_VERSION}"
        url = f"/openapi/v3/{place}?hash={hashlib.sha256(v3).hexdigest().upper()}"
        self._documents: Mapping[str, bytes] = {
            f"/apis/{API_VERSION}": orjson.dumps(views.resource_list()),
            f"/apis/{GROUP}": orjson.dumps(views.group()),
            "/apis": _groups(),
            "/openapi/v2": orjson.dumps(views.openapi_v2()),
            "/openapi/v3": orjson.dumps({"paths": {place: {"serverRelativeURL": url}}}),
            f"/openapi/v3/{place}": v3,
        }

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            answer = await self._answer(exchange)
        except ApiError as error:
            answer = _json(error.code, orjson.dumps(error.to_status()))
        await exchange.respond(answer)

    async def _answer(self, exchange: Exchange) -> HttpResponse:
        request = exchange.request
        if request.path in _PROBES:
            ready = request.path != "/readyz" or self._is_ready()
            return _text(200, "ok") if ready else _text(503, "not ready\n")
        caller = await self._auth.caller(exchange)
        if caller is None:
            raise UnauthorizedError("Unauthorized")
        target = _target(request.path)
        reading = request.method in ("GET", "HEAD")
        verb = ("get" if target and target.name else "list") if reading else request.method.lower()
        attributes = _attributes(target, verb, request.path)
        allowed, reason = await self._auth.decide(caller, attributes)
        if not allowed:
            raise _forbidden(caller.name, attributes, reason)
        if target is None:
            document = self._documents.get(request.path.rstrip("/"))
            return _text(404, _NOT_FOUND) if document is None else _json(200, document)
        if not reading:
            raise MethodNotAllowedError(
                "the server does not allow this method on the requested resource"
            )
        return self._read(exchange, target)

    def _read(self, exchange: Exchange, target: Target) -> HttpResponse:
        request = exchange.request
        wants_table = "as=Table" in request.header("accept").replace(" ", "")
        if target.name:
            items = [self._one(target)]
            body = items[0]
        else:
            items = self._many(target, request.query)
            body = views.listing(target.resource, items)
        if wants_table:
            body = views.table(items)
        return _json(200, orjson.dumps(body))

    def _one(self, target: Target) -> Object:
        resource = target.resource
        found = self._objects[resource].get(ObjectKey(target.namespace, target.name))
        if found is None:
            raise NotFoundError(
                f'{resource} "{target.name}" not found', kind=resource, name=target.name
            )
        made = self._metrics(resource, found)
        if made is None:
            name = f"{target.namespace}/{target.name}" if target.namespace else target.name
            text = f'{KINDS[resource].lower()}.{GROUP} "{name}" not found'
            raise NotFoundError(text, group=GROUP, kind=resource, name=name)
        return made

    def _many(self, target: Target, text: str) -> list[Object]:
        labels, fields = _selectors(text)
        found = []
        for obj in self._objects[target.resource].list(target.namespace):
            metadata = obj["metadata"]
            if not labels.matches(metadata.get("labels") or {}):
                continue
            if fields and not fields.matches(lambda path, m=metadata: _field(m, path)):  # type: ignore[misc]
                continue
            made = self._metrics(target.resource, obj)
            if made is not None:
                found.append(made)
        return sorted(found, key=_place)

    def _metrics(self, resource: str, obj: Object) -> Object | None:
        metadata = obj["metadata"]
        if resource == "nodes":
            used = self._storage.node(metadata["name"])
            return views.node_metrics(obj, used, self._now()) if used else None
        key = PodKey(metadata["namespace"], metadata["name"])
        each = self._storage.pod(key)
        return views.pod_metrics(obj, each, self._now()) if each else None


def _place(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _target(path: str) -> Target | None:
    """What a path names; None where it is no resource."""
    base = f"/apis/{API_VERSION}/"
    if not path.startswith(base):
        return None
    match path.removeprefix(base).strip("/").split("/"):
        case ["nodes"]:
            return Target("nodes")
        case ["nodes", name]:
            return Target("nodes", name=name)
        case ["pods"]:
            return Target("pods")
        case ["namespaces", namespace, "pods"]:
            return Target("pods", namespace)
        case ["namespaces", namespace, "pods", name]:
            return Target("pods", namespace, name)
    return None


def _attributes(target: Target | None, verb: str, path: str) -> Object:
    if target is None:
        return {"verb": "get" if verb == "list" else verb, "path": path}
    made = {"verb": verb, "group": GROUP, "version": VERSION, "resource": target.resource}
    return made | {k: v for k, v in target._asdict().items() if v and k != "resource"}


def _forbidden(name: str, attributes: Mapping[str, str], reason: str) -> ForbiddenError:
    verb = attributes["verb"]
    if "path" in attributes:
        text = f'forbidden: User "{name}" cannot {verb} path "{attributes["path"]}"'
    else:
        resource = attributes["resource"]
        asked = f"{resource}.{GROUP}"
        asked += f' "{attributes["name"]}"' if "name" in attributes else ""
        namespace = attributes.get("namespace")
        scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        text = f'{asked} is forbidden: User "{name}" cannot {verb} resource "{resource}" '
        text += f'in API group "{GROUP}" {scope}'
    return ForbiddenError(f"{text}: {reason}" if reason else text)


def _selectors(text: str) -> tuple[LabelSelector, FieldSelector]:
    """Raises BadRequestError: one is malformed."""
    try:
        query: Mapping[str, Sequence[str]] = parse_qs(text, max_num_fields=_PARAMETERS_MAX)
        labels = parse_selector("".join(query.get("labelSelector", ())[:1]))
        fields = parse_field_selector("".join(query.get("fieldSelector", ())[:1]))
    except ValueError as error:
        raise BadRequestError(f"unable to parse selector: {error}") from error
    return labels, fields


def _field(metadata: Mapping[str, Any], path: str) -> str:
    known = {"metadata.name": "name", "metadata.namespace": "namespace"}
    return str(metadata.get(known.get(path, ""), ""))


def _groups() -> bytes:
    own = {k: v for k, v in views.group().items() if k not in ("kind", "apiVersion")}
    return orjson.dumps({"kind": "APIGroupList", "apiVersion": "v1", "groups": [own]})


def _json(status: int, body: bytes) -> HttpResponse:
    return HttpResponse(status, body, (("content-type", _JSON),))


def _text(status: int, text: str) -> HttpResponse:
    kind = ("content-type", "text/plain; charset=utf-8")
    return HttpResponse(status, text.encode(), (kind,))
