"""The service kubraft.v1.Objects: each method is decode, one verb of the registry, encode."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson

from apiserver.aggregation.remote_objects import RemoteObjects
from apiserver.flow.control import FlowControl, Turn
from apiserver.flow.schema import Request
from apiserver.registry.call import Call, DeleteOptions, WriteOptions, Written
from apiserver.registry.patches import change_of
from apiserver.registry.registry import ListQuery, Registry
from apiserver.registry.resource import Resource
from apiserver.registry.resources import SUBRESOURCE_KINDS
from apiserver.registry.reviews import REVIEWS
from apiserver.registry.table import table
from apiserver.rpc import audited, body, remote_kinds, wire
from apiserver.rpc.caller import Authenticator, credentials_of
from apiserver.rpc.failure import Context
from apiserver.rpc.watching import watch_answers
from apiserver.schema.schemas import FieldValidation
from apiserver.storage.entry import Entry
from apiserver.user import User
from kubraft.api.errors import BadRequestError, NotFoundError
from kubraft.api.object import Object
from kubraft.pb.v1 import objects_pb2 as pb

WARNINGS_KEY = "x-kubernetes-warning"


class ObjectsService:
    """Handlers of kubraft.v1.Objects; errors are raised as kubraft.api.errors."""

    def __init__(
        self,
        registry: Registry,
        authenticator: Authenticator,
        flow: FlowControl | None = None,
        remotes: RemoteObjects | None = None,
    ) -> None:
        """`remotes` has the kinds of extension servers."""
        self._remotes = remotes
        self._registry = registry
        self._flow = flow or FlowControl()
        self._authenticator = authenticator

    async def Get(self, request: pb.GetRequest, context: Context) -> Any:  # noqa: N802
        call = await self._call(request, context, request.subresource)
        _check_name(request.name)
        turn = await self._turn(call, "get")
        try:
            if call.subresource == "scale":
                raw = orjson.dumps(await self._registry.get_scale(call))
                return self._answer(raw, request.encoding)
            entry = await self._registry.get(call, request.resource_version)
        finally:
            turn.end()
        return self._object(call.resource, entry, request.encoding)

    async def List(self, request: pb.ListRequest, context: Context) -> Any:  # noqa: N802
        if self._remotes and (kind := self._remotes.find(request.api_version, request.kind)):
            user = await self._user(context)
            call = remote_kinds.call_of(user, kind, request.namespace)
            turn = await self._turn(call, "list")
            try:
                return await remote_kinds.listed(self._remotes, user, kind, request)
            finally:
                turn.end()
        call = await self._call(request, context)
        query = ListQuery(
            label_selector=request.label_selector,
            field_selector=request.field_selector,
            limit=request.limit,
            continue_token=request.continue_token,
            resource_version=request.resource_version,
            resource_version_match=request.resource_version_match,
        )
        width = self._flow.list_width(call.resource.prefix, request.limit)
        turn = await self._turn(call, "list", width)
        try:
            listing = await self._registry.list(call, query)
        finally:
            turn.end()
        revision, token = listing.revision, listing.continue_token
        if request.encoding == pb.ENCODING_JSON:
            raws = (entry.raw for entry in listing.entries)
            return wire.list_response(raws, revision, token, listing.remaining)
        answer = pb.ListResponse(
            resource_version=str(revision),
            continue_token=token,
            remaining_item_count=listing.remaining or 0,
        )
        if request.encoding == pb.ENCODING_TABLE:
            metadata: dict[str, Any] = {"resourceVersion": str(revision)}
            if token:
                metadata |= {"continue": token, "remainingItemCount": listing.remaining}
            answer.table = self._table(call.resource, listing.entries, metadata)
            return answer
        for entry in listing.entries:
            answer.items.add(object=body.to_struct(entry.decode()))
        return answer

    async def Put(self, request: pb.PutRequest, context: Context) -> Any:  # noqa: N802
        user = await self._user(context)
        obj, form = _read_put(request)
        encoding = request.encoding if request.HasField("encoding") else form
        options = _write_options(request)
        if not obj.get("kind") or not isinstance(obj["kind"], str):
            raise BadRequestError("Object 'Kind' is missing: kind must be set")
        kind, subresource = self._subresource_kind(obj), request.subresource
        if kind is not None:
            parent, subresource = kind
            call = Call(user, parent, request.namespace, request.name, "")
            _check_segments(call)
            turn = await self._turn(replace(call, subresource=subresource), "create")
            audited.note_asked(obj)
            try:
                if subresource == "binding":
                    answer = await self._registry.bind(call, obj, options)
                else:
                    answer = await self._registry.create_token(call, obj, options)
            finally:
                turn.end()
            return self._answer(orjson.dumps(answer), encoding)
        if (row := self._review_row(obj)) is not None:
            return await self._review(Call(user, row, request.namespace, "", ""), obj, request)
        resource = await self._resource(_text(obj, "apiVersion"), obj["kind"])
        obj["apiVersion"] = resource.gvk.api_version
        call = Call(user, resource, request.namespace, request.name, subresource)
        _check_segments(call)
        metadata = obj.get("metadata")
        versioned = isinstance(metadata, dict) and metadata.get("resourceVersion")
        if versioned or subresource:
            _check_name(request.name or _text(metadata or {}, "name"))
            verb, write = "update", self._registry.update
        else:
            verb, write = "create", self._registry.create
        turn = await self._turn(call, verb)
        audited.note_asked(obj)
        try:
            written = await write(call, obj, options)
        finally:
            turn.end()
        return self._written(context, call.resource, written, encoding)

    async def Patch(self, request: pb.PatchRequest, context: Context) -> Any:  # noqa: N802
        call = await self._call(request, context, request.subresource)
        _check_name(request.name)
        form, content = pb.ENCODING_STRUCT, None
        if request.WhichOneof("patch") == "merge":
            content = body.from_struct(request.merge)
        elif request.WhichOneof("patch") == "json":
            form = pb.ENCODING_JSON
            content = body.read_json(request.json, strict=False)
        if content is None:
            raise BadRequestError("one of merge and json must be set")
        change = change_of(request.patch_type, content)
        if request.resource_version:
            change = _at_version(change, request.resource_version)
        encoding = request.encoding if request.HasField("encoding") else form
        turn = await self._turn(call, "patch")
        audited.note_asked(content)
        try:
            if call.subresource == "scale":
                options = _write_options(request)
                scale = await self._registry.change_scale(call, "patch", change, options)
                return self._answer(orjson.dumps(scale), encoding)
            written = await self._registry.patch(call, change, _write_options(request))
        finally:
            turn.end()
        return self._written(context, call.resource, written, encoding)

    async def Delete(self, request: pb.DeleteRequest, context: Context) -> Any:  # noqa: N802
        if self._remotes and (kind := self._remotes.find(request.api_version, request.kind)):
            user = await self._user(context)
            _check_name(request.name)
            _check_part("namespace", request.namespace)
            _check_part("name", request.name)
            call = remote_kinds.call_of(user, kind, request.namespace, request.name)
            turn = await self._turn(call, "delete")
            try:
                return await remote_kinds.deleted(self._remotes, user, kind, request)
            finally:
                turn.end()
        call = await self._call(request, context)
        _check_name(request.name)
        grace = request.HasField("grace_period_seconds")
        options = DeleteOptions(
            grace_period_s=request.grace_period_seconds if grace else None,
            propagation=request.propagation_policy,
            uid=request.uid,
            resource_version=request.resource_version,
            dry_run=request.dry_run,
        )
        turn = await self._turn(call, "delete")
        try:
            written = await self._registry.delete(call, options)
        finally:
            turn.end()
        answer = pb.DeleteResponse(gone=written.gone)
        encoded = self._object(call.resource, written.entry, request.encoding)
        answer.object.MergeFromString(wire.serialize(encoded))
        return answer

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[Any]:  # noqa: N802
        call = await self._call(request, context)
        (await self._turn(call, "watch")).end()  # only its beginning takes a turn
        clock = self._registry.machinery.clock
        async for answer in watch_answers(self._registry, call, request, clock.now):
            yield answer

    async def Kinds(self, request: pb.KindsRequest, context: Context) -> pb.KindsResponse:  # noqa: N802
        await self._user(context)
        others = self._remotes.kinds() if self._remotes and request.remote else ()
        answer = pb.KindsResponse(
            kinds=[
                pb.Kind(
                    group=row.gvk.group,
                    version=row.gvk.version,
                    kind=row.gvk.kind,
                    plural=row.plural,
                    singular=row.singular,
                    short_names=row.short_names,
                    categories=row.categories,
                    namespaced=row.namespaced,
                    verbs=row.verbs,
                    subresources=row.subresources,
                )
                for row in self._registry.resources.offers()
            ]
        )
        answer.kinds.extend(map(remote_kinds.shown, others))
        return answer

    async def _turn(self, call: Call, verb: str, width: int = 1) -> Turn:
        audited.note_call(call, verb)
        user, resource, sub = call.user, call.resource, call.subresource
        named = f"{resource.plural}/{sub}" if sub else resource.plural
        namespace = call.namespace if resource.namespaced else ""
        asked = Request(user.name, user.groups, verb, resource.gvk.group, named, namespace)
        return await self._flow.turn(self._flow.find(asked), width)

    async def _user(self, context: Context) -> User:
        user = await self._authenticator.authenticate(credentials_of(context))
        audited.note_user(user)
        return user

    async def _call(self, request: Any, context: Context, subresource: str = "") -> Call:
        user = await self._user(context)
        resource = await self._resource(request.api_version, request.kind)
        namespace = request.namespace if resource.namespaced else ""
        name = getattr(request, "name", "")
        if name and resource.namespaced and not namespace:
            namespace = "default"
        call = Call(user, resource, namespace, name, subresource)
        _check_segments(call)
        return call

    async def _resource(self, api_version: str, kind: str) -> Resource:
        if not kind:
            raise BadRequestError("kind must be set")
        resource = self._registry.resources.find_offered(api_version, kind)
        if resource is None:
            await self._registry.settle()
            resource = self._registry.resources.find_offered(api_version, kind)
        if resource is None:
            version = f' in version "{api_version}"' if api_version else ""
            raise NotFoundError(f'no matches for kind "{kind}"{version}', kind=kind)
        return resource

    def _review_row(self, obj: Object) -> Resource | None:
        """The row of a kind that is a question; it has no name, and is not kept."""
        api_version = _text(obj, "apiVersion")
        for row in filter(self._registry.resources.offered, REVIEWS):
            if obj["kind"] == row.gvk.kind and api_version in ("", row.gvk.api_version):
                obj["apiVersion"] = row.gvk.api_version
                return row
        return None

    async def _review(self, call: Call, obj: Object, request: pb.PutRequest) -> Any:
        _check_segments(call)
        turn = await self._turn(call, "create")
        try:
            authenticate = self._authenticator.authenticate
            options = _write_options(request)
            answer = await self._registry.review(call, obj, authenticate, options)
        finally:
            turn.end()
        form = request.encoding if request.HasField("encoding") else _form(request)
        return self._answer(orjson.dumps(answer), form)

    def _subresource_kind(self, obj: Object) -> tuple[Resource, str] | None:
        api_version = _text(obj, "apiVersion")
        for gvk, (parent, subresource) in SUBRESOURCE_KINDS.items():
            if obj["kind"] == gvk.kind and api_version in ("", gvk.api_version):
                obj["apiVersion"] = gvk.api_version
                return self._registry.resources[parent], subresource
        return None

    def _written(
        self, context: Context, resource: Resource, written: Written, encoding: int
    ) -> Any:
        if written.warnings:
            context.set_trailing_metadata(tuple((WARNINGS_KEY, w) for w in written.warnings))
        return self._object(resource, written.entry, encoding)

    def _object(self, resource: Resource, entry: Entry, encoding: int) -> Any:
        if encoding == pb.ENCODING_TABLE:
            return wire.object_json(self._table(resource, [entry], {}))
        return self._answer(entry.raw, encoding)

    def _answer(self, raw: bytes, encoding: int) -> Any:
        audited.note_answer(raw)
        if encoding == pb.ENCODING_STRUCT:
            return pb.Object(object=body.to_struct(orjson.loads(raw)))
        return wire.object_json(raw)

    def _table(self, resource: Resource, entries: list[Entry], metadata: dict[str, Any]) -> bytes:
        now = self._registry.machinery.clock.now()
        return orjson.dumps(table(resource, (e.decode() for e in entries), now, metadata))


def _form(request: pb.PutRequest) -> int:
    """The encoding that a request itself has."""
    return pb.ENCODING_JSON if request.WhichOneof("form") == "json" else pb.ENCODING_STRUCT


def _read_put(request: pb.PutRequest) -> tuple[Object, int]:
    form = request.WhichOneof("form")
    if form == "json":
        strict = request.field_validation in ("", "Strict")
        return body.read_object(request.json, strict=strict), pb.ENCODING_JSON
    if form == "object":
        return body.from_struct(request.object), pb.ENCODING_STRUCT
    raise BadRequestError("one of object and json must be set")


def _write_options(request: pb.PutRequest | pb.PatchRequest) -> WriteOptions:
    try:
        validation = FieldValidation(request.field_validation or "Strict")
    except ValueError as error:
        raise BadRequestError(
            f'fieldValidation: Unsupported value: "{request.field_validation}": '
            'supported values: "", "Ignore", "Strict", "Warn"'
        ) from error
    return WriteOptions(
        dry_run=request.dry_run,
        field_manager=request.field_manager,
        field_validation=validation,
    )


def _at_version(change: Any, resource_version: str) -> Any:
    def changed(obj: Object) -> Object:
        new: Object = change(obj)
        metadata = {**new["metadata"], "resourceVersion": resource_version}
        return {**new, "metadata": metadata}

    return changed


def _check_name(name: str) -> None:
    if not name:
        raise BadRequestError("name must be set")


def _check_segments(call: Call) -> None:
    for field, value in (("namespace", call.namespace), ("name", call.name)):
        _check_part(field, value)


def _check_part(field: str, value: str) -> None:
    if "/" in value or "\0" in value or len(value) > 253 or value in (".", ".."):
        raise BadRequestError(f"{field} {value[:64]!r} is not one that an object can have")


def _text(obj: dict[str, Any], field: str) -> str:
    value = obj.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRequestError(f"{field} must be a string")
    return value
