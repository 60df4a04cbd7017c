"""Resources over REST: each request is decode, one verb of the registry, encode."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from apiserver.registry.call import Call, WriteOptions, Written
from apiserver.registry.patches import APPLY, JSON, MERGE, STRATEGIC, change_of
from apiserver.registry.registry import Registry
from apiserver.registry.resource import Resource
from apiserver.registry.reviews import Authenticate
from apiserver.registry.update import Change
from apiserver.rest import answer, content, media, query
from apiserver.rest.media import Form
from apiserver.rest.request_info import Query, RequestInfo, is_set
from apiserver.rest.watching import Lines, send
from apiserver.rpc.body import BODY_BYTES_MAX, read_json
from apiserver.rpc.logs import PodLogs
from apiserver.schema.schemas import FieldValidation
from apiserver.storage.entry import Entry
from kubraft.api import gvk
from kubraft.api.errors import (
    BadRequestError,
    MethodNotAllowedError,
    NotFoundError,
    TimeoutError_,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from kubraft.api.object import Object
from kubraft.grpc_server.exchange import BodyTooLargeError, BodyTooSlowError, Exchange
from kubraft.pb.v1 import objects_pb2 as pb

# How long a watch lasts that does not say: so long at least, and at most twice that.
WATCH_S_MIN = 1800.0
PATCH_TYPES = (JSON, MERGE, STRATEGIC, APPLY)
_RETURNED_WHEN_GONE = (gvk.POD, gvk.SERVICE, gvk.SERVICE_ACCOUNT, gvk.RESOURCE_QUOTA)
_OPTIONS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
_TEXT = (("content-type", "text/plain"), *answer.COMMON)
_LOG_NUMBERS = (
    ("tailLines", "tail_lines"),
    ("sinceSeconds", "since_seconds"),
    ("limitBytes", "limit_bytes"),
)
# The verbs of subresources; a resource names those that it has.
_SUBRESOURCE_VERBS = {
    "status": ("get", "update", "patch"),
    "scale": ("get", "update", "patch"),
    "finalize": ("update",),
    "approval": ("get", "update", "patch"),
    "ephemeralcontainers": ("get", "update", "patch"),
    "resize": ("get", "update", "patch"),
    "binding": ("create",),
    "eviction": ("create",),
    "token": ("create",),
    "log": ("get",),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
    "portforward": ("create", "get"),
    "proxy": ("create", "delete", "get", "patch", "update"),
}


def verbs_of(subresource: str) -> tuple[str, ...]:
    """What can be done with a subresource."""
    return _SUBRESOURCE_VERBS[subresource]


class Ask(NamedTuple):
    """One request, read as far as all verbs need it."""

    exchange: Exchange
    call: Call
    verb: str
    query: Query
    form: Form

    def header(self, name: str) -> str:
        return self.exchange.request.header(name)

    @property
    def include(self) -> str:
        """What rows of a Table hold of their objects."""
        return query.first(self.query, "includeObject") or "Metadata"

    async def answer(self, status: int, raw: bytes, warnings: Sequence[str] = ()) -> None:
        await self.exchange.respond(
            answer.response(status, raw, self.form, (*self.call.resource.warnings, *warnings))
        )


class ObjectsRest:
    """Carries requests out; errors are raised as kubraft.api.errors."""

    def __init__(self, registry: Registry, authenticate: Authenticate, logs: PodLogs) -> None:
        self._registry = registry
        self._authenticate = authenticate
        self._logs = logs
        self._now = registry.machinery.clock.now

    async def handle(self, exchange: Exchange, call: Call, info: RequestInfo, asked: Query) -> None:
        """Answer one request; `call` and `info` say the same of it."""
        check_target(call.resource, info)
        watching = info.verb == "watch"
        # A review is answered, and not kept: there is no table of them.
        views = call.resource.verbs != ("create",)
        form = media.accepted(exchange.request.header("accept"), stream=watching, views=views)
        ask = Ask(exchange, call, info.verb, asked, form)
        if watching:
            await self._watch(ask)
        elif call.subresource == "log":
            await self._log(ask)
        elif ask.verb == "get":
            await self._get(ask)
        elif ask.verb == "list":
            listing = await self._registry.list(call, query.list_query(asked))
            raw = answer.many(call.resource, listing, form, self._now(), ask.include)
            await ask.answer(200, raw)
        else:
            body = await _body(exchange)
            if ask.verb in ("delete", "deletecollection"):
                await self._delete(ask, _delete_body(body, ask.header("content-type")))
            else:
                await self._write(ask, body)

    async def _get(self, ask: Ask) -> None:
        if ask.call.subresource == "scale":
            await ask.answer(200, orjson.dumps(await self._registry.get_scale(ask.call)))
            return
        version = query.first(ask.query, "resourceVersion")
        entry = await self._registry.get(ask.call, version)
        raw = answer.one(ask.call.resource, entry, ask.form, self._now, ask.include)
        await ask.answer(200, raw)

    async def _watch(self, ask: Ask) -> None:
        call = ask.call
        timeout_s = float(query.number(ask.query, "timeoutSeconds") or 0)
        if timeout_s <= 0:
            timeout_s = WATCH_S_MIN * (1 + random.random())  # noqa: S311 - spreads reconnects
        wanted = query.watch_query(ask.query, call.name)
        stream = self._registry.watch(call, wanted)
        lines = Lines(call.resource, ask.form, self._now, ask.include)
        await send(ask.exchange, stream, lines, timeout_s=timeout_s)

    async def _write(self, ask: Ask, body: bytes) -> None:
        call = ask.call
        options = query.write_options(ask.query, _OPTIONS[ask.verb], ask.header("user-agent"))
        if ask.verb == "patch":
            await self._patch(ask, body, options)
            return
        kind = ask.header("content-type")
        obj = content.read_object(body, kind)
        repeated = content.repeated(body, kind, obj, options.field_validation)
        options = replace(options, repeated=repeated) if repeated else options
        if ask.verb == "create":
            await self._create(ask, obj, options)
        elif call.subresource == "scale":
            change = replacement(obj)
            scale = await self._registry.change_scale(call, "update", change, options)
            await ask.answer(200, orjson.dumps(scale))
        else:
            written = await self._registry.update(call, _typed(obj, call.resource.gvk), options)
            await self._written(ask, 201 if written.created else 200, written)

    async def _create(self, ask: Ask, obj: Object, options: WriteOptions) -> None:
        call, registry = ask.call, self._registry
        if call.subresource == "binding":
            made = await registry.bind(call, _typed(obj, gvk.BINDING), options)
        elif call.subresource == "token":
            made = await registry.create_token(call, _typed(obj, gvk.TOKEN_REQUEST), options)
        elif call.subresource == "eviction":
            own = _typed(obj, gvk.EVICTION).get("deleteOptions")
            deletion = query.delete_options(ask.query, own if isinstance(own, dict) else None)
            made = await registry.evict(call, obj, deletion, options)
        elif call.resource.verbs == ("create",):
            _typed(obj, call.resource.gvk)
            made = await registry.review(call, obj, self._authenticate, options)
        else:
            written = await registry.create(call, _typed(obj, call.resource.gvk), options)
            await self._written(ask, 201, written)
            return
        await ask.answer(201, orjson.dumps(made))

    async def _patch(self, ask: Ask, body: bytes, options: WriteOptions) -> None:
        kind = media.media_type(ask.header("content-type"))
        force = query.is_forced(ask.query, applying=kind == APPLY)
        if kind == APPLY:
            await self._apply(ask, body, options, force=force)
            return
        schema = self._registry.patch_schema(ask.call.resource)
        check_patch_type(kind, PATCH_TYPES if schema else (JSON, MERGE, APPLY))
        patch = read_json(body, strict=False)
        change = change_of(kind, patch, schema)
        repeated = content.repeated(body, kind, patch, options.field_validation)
        options = replace(options, repeated=repeated) if repeated else options
        if ask.call.subresource == "scale":
            scale = await self._registry.change_scale(ask.call, "patch", change, options)
            await ask.answer(200, orjson.dumps(scale))
            return
        await self._written(ask, 200, await self._registry.patch(ask.call, change, options))

    async def _apply(self, ask: Ask, body: bytes, options: WriteOptions, *, force: bool) -> None:
        config = content.read_config(body)
        repeated: tuple[str, ...] = ()
        if options.field_validation is not FieldValidation.IGNORE:
            repeated = content.repeated_keys(body)
        if repeated and options.field_validation is FieldValidation.STRICT:
            raise BadRequestError(f"error strict decoding YAML: {repeated[0]}")
        if ask.call.subresource == "scale":
            scale = await self._registry.apply_scale(ask.call, config, options, force=force)
            await ask.answer(200, orjson.dumps(scale), repeated)
            return
        written, made = await self._registry.apply(ask.call, config, options, force=force)
        written = written._replace(warnings=(*repeated, *written.warnings))
        await self._written(ask, 201 if made else 200, written)

    async def _delete(self, ask: Ask, body: dict[str, Any] | None) -> None:
        call, options = ask.call, query.delete_options(ask.query, body)
        if ask.verb == "deletecollection":
            wanted = query.list_query(ask.query)
            listing = await self._registry.delete_collection(call, wanted, options)
            raw = answer.many(call.resource, listing, ask.form, self._now(), ask.include)
        else:
            written = await self._registry.delete(call, options)
            if written.gone and call.resource.gvk not in _RETURNED_WHEN_GONE:
                raw = orjson.dumps(_gone(call, written.entry))
            else:
                raw = answer.one(call.resource, written.entry, ask.form, self._now, ask.include)
        await ask.answer(200, raw)

    async def _written(self, ask: Ask, status: int, written: Written) -> None:
        entry = written.entry
        raw = answer.one(ask.call.resource, entry, ask.form, self._now, ask.include)
        await ask.answer(status, raw, written.warnings)

    async def _log(self, ask: Ask) -> None:
        asked, exchange = ask.query, ask.exchange
        request = pb.LogsRequest(
            namespace=ask.call.namespace,
            pod=ask.call.name,
            container=query.first(asked, "container"),
            follow=is_set(asked, "follow"),
            previous=is_set(asked, "previous"),
            timestamps=is_set(asked, "timestamps"),
        )
        for name, field in _LOG_NUMBERS:
            value = query.number(asked, name)
            if value is not None:
                setattr(request, field, value)
        async with aclosing(self._logs.read(ask.call.user, request)) as chunks:
            async for chunk in chunks:
                if not exchange.head_sent:
                    exchange.start(200, _TEXT)
                await exchange.write(chunk.data)
        if not exchange.head_sent:
            exchange.start(200, _TEXT)
        exchange.finish()


def check_target(resource: Resource, info: RequestInfo) -> None:
    """Raises what a URL that leads nowhere, or nowhere with this verb, is answered."""
    proxied = info.subresource == "proxy"
    if (info.rest and not proxied) or (resource.namespaced and info.name and not info.namespace):
        raise _nowhere()
    if info.namespace and not resource.namespaced:
        raise _nowhere()
    if info.subresource:
        if info.subresource not in resource.subresources:
            raise _nowhere()
        verbs: tuple[str, ...] = verbs_of(info.subresource)
    else:
        verbs = resource.verbs
        placed = info.namespace or not resource.namespaced
        nameless = info.verb in ("update", "patch") and not info.name
        if nameless or (info.verb == "create" and (info.name or not placed)):
            verbs = ()
    if info.verb not in verbs and not (proxied and not info.verb):
        raise MethodNotAllowedError(
            "the server does not allow this method on the requested resource"
        )


def replacement(obj: Object) -> Change:
    """The change that puts `obj` in place of whatever there is."""

    def change(_: Object) -> Object:
        return dict(obj)

    return change


def check_patch_type(kind: str, served: Sequence[str] = PATCH_TYPES) -> None:
    """Raises UnsupportedMediaTypeError: that is no kind of patch, or not for these objects."""
    if kind not in served:
        raise UnsupportedMediaTypeError(
            "the body of the request was in an unknown format - accepted media types include: "
            + ", ".join(served)
        )


def _nowhere() -> NotFoundError:
    return NotFoundError("the server could not find the requested resource")


async def _body(exchange: Exchange) -> bytes:
    try:
        return await exchange.body(BODY_BYTES_MAX)
    except BodyTooLargeError as error:
        raise TooLargeError(f"Request entity too large: limit is {BODY_BYTES_MAX}") from error
    except BodyTooSlowError as error:
        raise TimeoutError_("the body of the request took too long to come") from error


def _delete_body(body: bytes, kind: str) -> dict[str, Any] | None:
    if not body.strip():
        return None
    options = content.read_object(body, kind)
    if options.get("kind") not in (None, "DeleteOptions"):
        raise BadRequestError("decoded object cannot be converted to DeleteOptions")
    return options


def _typed(obj: Object, kind: gvk.GroupVersionKind) -> Object:
    """The object with the kind that the URL says where it says none itself."""
    obj["kind"] = obj.get("kind") or kind.kind
    obj["apiVersion"] = obj.get("apiVersion") or kind.api_version
    return obj


def _gone(call: Call, entry: Entry) -> Object:
    """The Status of a delete that removed the object."""
    kind = call.resource.gvk
    details = {"name": call.name, "kind": call.resource.plural}
    if kind.group:
        details["group"] = kind.group
    details["uid"] = entry.view()["metadata"].get("uid", "")
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }
