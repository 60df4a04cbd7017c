"""The HTTPS front: who asks, for what, and whether it may; then the answer, or a Status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from apiserver import notes
from apiserver.aggregation.aggregator import Aggregator
from apiserver.aggregation.services import Remote
from apiserver.audit.record import Auditor, Record
from apiserver.authn.anonymous import EVERYWHERE, AnonymousAccess
from apiserver.authn.issuer_documents import MAX_AGE_S, IssuerDocument
from apiserver.authz.attributes import Attributes, forbidden_error
from apiserver.connect.front import ConnectFront
from apiserver.flow.control import FlowControl, Turn
from apiserver.flow.figures import figures
from apiserver.flow.schema import Request
from apiserver.registry.call import Call
from apiserver.registry.policy import note_decision
from apiserver.registry.registry import Registry
from apiserver.registry.resource import Resource
from apiserver.registry.reviews import REVIEWS
from apiserver.rest import answer, request_info
from apiserver.rest.caller import impersonated, user_of
from apiserver.rest.discovery import Document
from apiserver.rest.documents import Documents
from apiserver.rest.media import JSON, clauses
from apiserver.rest.objects import ObjectsRest, check_target
from apiserver.rest.query import number
from apiserver.rest.request_info import Query, RequestInfo
from apiserver.rpc.caller import Authenticator
from apiserver.rpc.failure import internal_error
from apiserver.rpc.logs import PodLogs
from apiserver.user import User
from kubraft.api.errors import (
    ApiError,
    MethodNotAllowedError,
    NotAcceptableError,
    ServiceUnavailableError,
)
from kubraft.grpc_server.exchange import Exchange, HttpResponse
from kubraft.health.front import HealthFront
from kubraft.streaming.relay import wants_upgrade

NO_DOCUMENTS: Mapping[str, IssuerDocument] = {}
_NOT_FOUND = "404 page not found\n"
# Subresources whose answers may take as long as they like. Source: kube-apiserver.
_STREAMS = frozenset(("attach", "exec", "log", "portforward", "proxy"))


class RestFront:
    """Handles every request of the HTTPS port."""

    def __init__(
        self,
        registry: Registry,
        authenticator: Authenticator,
        health: HealthFront,
        logs: PodLogs,
        connects: ConnectFront,
        *,
        address: str,
        is_ready: Callable[[], bool],
        issuer: Mapping[str, IssuerDocument] = NO_DOCUMENTS,
        flow: FlowControl | None = None,
        anonymous: AnonymousAccess = EVERYWHERE,
        audit: Auditor | None = None,
        aggregator: Aggregator | None = None,
    ) -> None:
        """`address` is where clients reach the server; until `is_ready` only probes are served.

        `issuer` has the public documents of who issues ServiceAccount tokens, by path;
        `aggregator` knows what other servers have.
        """
        self._issuer = issuer
        self._anonymous = anonymous
        self._registry = registry
        self._authenticator = authenticator
        self._health = health
        self._objects = ObjectsRest(registry, authenticator.authenticate, logs)
        reviews = tuple(filter(registry.resources.offered, REVIEWS))
        self._connects = connects
        self._reviews = {(r.gvk.group, r.gvk.version, r.plural): r for r in reviews}
        self._aggregator = aggregator
        self._documents = Documents(registry.resources, reviews, address, aggregator)
        self._flow = flow or FlowControl()
        self._is_ready = is_ready
        self._audit = audit

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request; no exception leaves but those of a connection that is gone."""
        said = notes.begin()
        if self._audit is None:
            await self._answer(exchange)
            return
        record = self._audit.open(exchange, said)
        try:
            await self._answer(record)
        finally:
            record.close()

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._handle(exchange)
        except ApiError as error:
            await _refuse(exchange, error)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - the client must get an answer, and no traceback
            await _refuse(exchange, internal_error("rest"))

    async def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        asked = request_info.read_query(request.query)
        found = await self._health.find(request.method, request.path, asked)
        if found is not None:
            if not self._anonymous.allows(request.path):
                await user_of(exchange, self._authenticator, self._anonymous)
            await exchange.respond(found)
            return
        if not self._is_ready():
            raise ServiceUnavailableError("the API server is starting or stopping", retry_after_s=1)
        user = await user_of(exchange, self._authenticator, self._anonymous)
        info = request_info.parse(request.method, request.path, asked)
        user = self._acting(exchange, user, info)
        if (remote := self._remote(info)) is not None:
            await self._pass_on(exchange, user, info, remote)
            return
        if not info.is_resource:
            turn = await self._turn(exchange, user, info, 1)
            try:
                await exchange.respond(await self._document(exchange, user, info))
            finally:
                turn.end()
            return
        resource = self._find(info)
        if resource is None:
            self._authorize_unknown(user, info)
            await self._registry.settle()
            resource = self._find(info)
        if resource is None:
            await exchange.respond(answer.plain(404, _NOT_FOUND))
            return
        call = Call(user, resource, info.namespace, info.name, info.subresource)
        if self._connects.handles(info):
            check_target(resource, info)
            await self._connects.handle(exchange, call, info, asked)
            return
        if info.subresource == "log":
            await self._objects.handle(exchange, call, info, asked)
            return
        turn = await self._turn(exchange, user, info, self._width(resource, info, asked))
        try:
            if info.verb == "watch":
                turn.end()  # it waits for its turn to begin; then it costs next to nothing
            await self._objects.handle(exchange, call, info, asked)
        finally:
            turn.end()

    def _remote(self, info: RequestInfo) -> Remote | None:
        """The other server that a request is for."""
        if self._aggregator is None:
            return None
        directory = self._aggregator.directory
        if info.is_resource:
            return directory.find(info.group, info.version)
        return directory.find_path(info.path)

    async def _pass_on(
        self, exchange: Exchange, user: User, info: RequestInfo, remote: Remote
    ) -> None:
        """Have the server answer that has the version; it decides anew who may."""
        assert self._aggregator is not None
        if info.is_resource:
            self._authorize_unknown(user, info)
        else:
            self._authorize(Attributes(user, info.verb, path=info.path))
        turn = await self._turn(exchange, user, info, 1)
        endless = info.verb == "watch" or info.subresource in _STREAMS or wants_upgrade(exchange)
        try:
            if endless:
                turn.end()
            await self._aggregator.proxy.handle(exchange, user, remote, endless=endless)
        finally:
            turn.end()

    def _acting(self, exchange: Exchange, user: User, info: RequestInfo) -> User:
        """The user as whom a request is carried out; the audit log is told of both."""
        acting: User | None = None
        try:
            acting = impersonated(exchange, user, self._registry.policy.authorizer)
        finally:
            if isinstance(exchange, Record):
                other = acting if acting is not user else None
                exchange.identify(user, info, impersonated=other)
        return acting

    async def _turn(self, exchange: Exchange, user: User, info: RequestInfo, width: int) -> Turn:
        named = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        path = "" if info.resource else info.path
        flow = self._flow.find(
            Request(user.name, user.groups, info.verb, info.group, named, info.namespace, path)
        )
        if flow.headers:
            exchange.headers = (*exchange.headers, *flow.headers)
        return await self._flow.turn(flow, width)

    def _width(self, resource: Resource, info: RequestInfo, asked: Query) -> int:
        """How many seats a request takes."""
        if info.verb == "list":
            return self._flow.list_width(resource.prefix, number(asked, "limit") or 0)
        return 1

    def _find(self, info: RequestInfo) -> Resource | None:
        key = (info.group, info.version, info.resource)
        return self._registry.resources.find_plural(*key) or self._reviews.get(key)

    def _authorize_unknown(self, user: User, info: RequestInfo) -> None:
        """Only who may ask for a resource is told that there is none."""
        self._authorize(
            Attributes(
                user,
                info.verb,
                group=info.group,
                version=info.version,
                resource=info.resource,
                subresource=info.subresource,
                namespace=info.namespace,
                name=info.name,
            )
        )

    def _authorize(self, attributes: Attributes) -> None:
        decision = self._registry.policy.authorizer.authorize(attributes)
        note_decision(decision)
        if not decision.allowed:
            raise forbidden_error(attributes, decision.reason)

    async def _document(self, exchange: Exchange, user: User, info: RequestInfo) -> HttpResponse:
        request = exchange.request
        self._authorize(Attributes(user, info.verb, path=request.path))
        if info.verb != "get":
            raise MethodNotAllowedError(
                "the server does not allow this method on the requested resource"
            )
        if request.path == "/metrics":
            answered = self._health.metrics()
            own = figures(self._flow.levels) + self._connects.relays.figures()
            return answered._replace(body=answered.body + own)
        if (issued := self._issuer.get(request.path.rstrip("/"))) is not None:
            kept = ("cache-control", f"public, max-age={MAX_AGE_S}")
            return HttpResponse(200, issued.raw, [("content-type", issued.content_type), kept])
        accept = request.header("accept")
        await self._registry.settle()
        document = self._documents.discovery().find(request.path, accept)
        if document is None and request.path.startswith("/openapi/"):
            _check_json(accept)
            document = (await self._documents.openapi()).get(request.path.rstrip("/"))
        if document is None:
            return answer.plain(404, _NOT_FOUND)
        return _document_answer(exchange, document)


async def _refuse(exchange: Exchange, error: ApiError) -> None:
    if exchange.head_sent:
        exchange.abandon()
        return
    with contextlib.suppress(ConnectionError):
        await exchange.respond(answer.failure(error))


def _check_json(accept: str) -> None:
    if not any(c.media in (JSON, "*/*", "application/*") for c in clauses(accept)):
        raise NotAcceptableError(f"only the following media types are accepted: {JSON}")


def _document_answer(exchange: Exchange, document: Document) -> HttpResponse:
    query: Query = request_info.read_query(exchange.request.query)
    wanted, etag = "".join(query.get("hash", ())), document.etag.strip('"')
    headers = [("content-type", document.content_type), ("etag", document.etag)]
    headers.append(("vary", "Accept"))
    if wanted and wanted != etag:
        location = f"{exchange.request.path}?hash={etag}"
        return HttpResponse(301, b"", [("location", location), *answer.COMMON])
    if wanted:
        headers.append(("cache-control", "public, immutable"))
    else:
        headers += answer.COMMON
    if exchange.request.header("if-none-match") == document.etag:
        return HttpResponse(304, b"", headers)
    return HttpResponse(200, document.raw, headers)
