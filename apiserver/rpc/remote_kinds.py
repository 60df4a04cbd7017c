"""Calls of kubraft.v1.Objects that concern kinds of extension servers."""

from __future__ import annotations

from typing import Any

import orjson

from apiserver.aggregation.remote_objects import RemoteKind, RemoteObjects
from apiserver.registry.call import Call
from apiserver.registry.resource import Columns, Resource
from apiserver.registry.strategy import Strategy
from apiserver.rpc import wire
from apiserver.user import User
from kubraft.api.errors import BadRequestError
from kubraft.api.object import Object
from kubraft.pb.v1 import objects_pb2 as pb

_NOTHING = Columns((), lambda _obj, _now: [])


def shown(kind: RemoteKind) -> pb.Kind:
    """A kind as `Kinds` tells it."""
    described = kind.described
    return pb.Kind(
        group=kind.gvk.group,
        version=kind.gvk.version,
        kind=kind.gvk.kind,
        plural=kind.plural,
        singular=str(described.get("singularResource") or ""),
        short_names=described.get("shortNames") or (),
        categories=described.get("categories") or (),
        namespaced=kind.namespaced,
        verbs=[str(verb) for verb in described.get("verbs") or ()],
    )


def call_of(user: User, kind: RemoteKind, namespace: str, name: str = "") -> Call:
    """A call as fairness and the audit log know it."""
    row = Resource(kind.gvk, kind.plural, Strategy(), _NOTHING, namespaced=kind.namespaced)
    return Call(user, row, namespace, name, "")


async def listed(
    remotes: RemoteObjects, user: User, kind: RemoteKind, request: pb.ListRequest
) -> bytes:
    """The objects of a kind, as JSON."""
    _check_json(request.encoding)
    if "/" in request.namespace or request.namespace in (".", ".."):
        raise BadRequestError("namespace is not one that an object can have")
    selectors = {
        "labelSelector": request.label_selector,
        "fieldSelector": request.field_selector,
        "limit": str(request.limit or ""),
        "continue": request.continue_token,
    }
    found = await remotes.list(user, kind, request.namespace, selectors)
    metadata = found.get("metadata") or {}
    version = str(metadata.get("resourceVersion") or "0")
    return wire.list_response(
        (orjson.dumps(item) for item in found.get("items") or ()),
        int(version) if version.isdecimal() else 0,
        str(metadata.get("continue") or ""),
        metadata.get("remainingItemCount"),
    )


async def deleted(
    remotes: RemoteObjects, user: User, kind: RemoteKind, request: pb.DeleteRequest
) -> Any:
    """Delete one object of a kind; what the other server answers is passed on."""
    _check_json(request.encoding)
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
    if request.HasField("grace_period_seconds"):
        options["gracePeriodSeconds"] = request.grace_period_seconds
    if request.propagation_policy:
        options["propagationPolicy"] = request.propagation_policy
    if request.uid:
        options["preconditions"] = {"uid": request.uid}
    if request.dry_run:
        options["dryRun"] = ["All"]
    found = await remotes.delete(user, kind, request.namespace, request.name, options)
    answer = pb.DeleteResponse(gone=found.get("kind") == "Status")
    answer.object.json = orjson.dumps(found)
    return answer


def _check_json(encoding: int) -> None:
    if encoding != pb.ENCODING_JSON:
        raise BadRequestError("kinds of extension servers are served as JSON only")
