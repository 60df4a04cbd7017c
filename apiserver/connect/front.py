"""The connect requests of the HTTPS front: may they, where to, and then on with them."""

from __future__ import annotations

import posixpath
import ssl
from random import Random
from typing import Final

from apiserver.admission.request import AdmissionRequest, Operation
from apiserver.connect.locations import Location, Locations
from apiserver.connect.options import PROXY, STREAMS, SUBRESOURCES, options_kind, options_of
from apiserver.connect.relays import Relays
from apiserver.connect.web import WebProxy
from apiserver.reader import Reader
from apiserver.registry.call import Call
from apiserver.registry.registry import Registry
from apiserver.rest.request_info import Query, RequestInfo
from kubraft.api.errors import BadRequestError
from kubraft.api.object import Object
from kubraft.grpc_server.exchange import Exchange
from kubraft.streaming.relay import wants_upgrade

_CREATE: Final = "create"


class ConnectFront:
    """Carries connect requests out; errors are raised as kubraft.api.errors."""

    def __init__(
        self,
        registry: Registry,
        reader: Reader,
        rng: Random,
        node_tls: ssl.SSLContext | None,
    ) -> None:
        """`node_tls`: how node agents are asked; None where no certificate was given."""
        self._registry = registry
        self._locations = Locations(registry, reader, rng, node_tls)
        self._web = WebProxy()
        self.relays = Relays()

    @staticmethod
    def handles(info: RequestInfo) -> bool:
        """Whether a request is one of these."""
        return info.subresource in SUBRESOURCES

    async def handle(self, exchange: Exchange, call: Call, info: RequestInfo, asked: Query) -> None:
        """Answer one request, whose resource has this subresource and verb."""
        policy, what = self._registry.policy, (call.resource.plural, call.subresource)
        policy.check(call, info.verb)
        if asked.get("dryRun"):
            raise BadRequestError("dryRun is not supported")
        options = await self._admitted(call, options_of(info, asked))
        if call.subresource in STREAMS:
            # A WebSocket is a GET, and who may read may not run programs for that.
            if info.verb != _CREATE:
                policy.check(call, _CREATE)
            location = await self._locations.stream(call, options)
            if not wants_upgrade(exchange):
                raise BadRequestError("Upgrade request required")
            await self.relays.run(exchange, location, what)
            return
        backend = await self._locations.proxy(call)
        prefix, path = proxied_path(info)
        if wants_upgrade(exchange):
            location = Location(backend, path, exchange.request.query)
            await self.relays.run(exchange, location, what, exchange.request.host)
            return
        await self._web.pass_on(exchange, backend, prefix, path)

    async def _admitted(self, call: Call, options: Object) -> Object:
        """The options as admission leaves them."""
        request = AdmissionRequest(
            Operation.CONNECT,
            call.user,
            options_kind(call.resource.plural, call.subresource),
            call.resource.plural,
            call.subresource,
            call.namespace,
            call.name,
            obj=options,
            parent=call.resource.gvk,
        )
        await self._registry.policy.admit(request)
        return request.obj or options

    async def close(self) -> None:
        """End all relays, and the connections that are kept."""
        self.relays.close()
        await self._web.close()


def proxied_path(info: RequestInfo) -> tuple[str, str]:
    """Where a proxied URL ends that is ours, and what it asks of the other end.

    That is "" or an absolute path without dots in it.
    """
    assert info.subresource == PROXY
    leading = len(info.path.strip("/").split("/")) - len(info.rest)
    parts = info.path.lstrip("/").split("/", leading)
    prefix = "/" + "/".join(parts[:leading])
    if len(parts) == leading:
        return prefix, ""
    behind = parts[leading]
    path = posixpath.normpath(f"/{behind.lstrip('/')}")
    return prefix, f"{path}/" if behind.endswith("/") and path != "/" else path
