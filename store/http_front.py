"""All HTTP of a member that is not gRPC: who may ask, and where each path leads.

Source: etcd 3.5, server/embed (serve.go: accessController, createMux).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from urllib.parse import quote

from kubraft.grpc_server.exchange import Exchange, HttpRequest, HttpResponse
from store.front_options import Access
from store.gateway import routes
from store.gateway.answers import plain
from store.gateway.gateway import Gateway
from store.probes import Probes

_CORS_METHODS = ("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE")
_CORS_HEADERS = ("access-control-allow-headers", "accept, content-type, authorization")
_NAME_IGNORED = (
    "CommonName of client sending a request against gateway will be ignored and not used as "
    "expected"
)


class HttpFront:
    """`handle` is what a `GrpcServer` takes as its `http`; without `gateway`, probes only."""

    def __init__(
        self,
        probes: Probes,
        gateway: Gateway | None,
        *,
        access: Access,
        names_count: Callable[[], bool] = lambda: False,
    ) -> None:
        """`names_count` says whether the common names of certificates stand for users."""
        self._probes = probes
        self._gateway = gateway
        self._access = access
        self._names_count = names_count

    async def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        path = request.path
        if path.startswith(routes.OLD_PREFIX):
            path = routes.PREFIX + path.removeprefix(routes.OLD_PREFIX)
        in_gateway = self._gateway is not None and path.startswith(routes.PREFIX)
        refusal = self._refusal(exchange, in_gateway=in_gateway)
        if refusal is not None:
            return await exchange.respond(refusal)
        exchange.headers = self._cors(request)
        if request.method == "OPTIONS":
            return await exchange.respond(HttpResponse(200, b""))
        cleaned = _cleaned(path)
        if cleaned != path and request.method != "CONNECT":
            return await exchange.respond(_moved(cleaned, request.query))
        if self._gateway is not None and in_gateway:
            return await self._gateway.handle(exchange, path.removeprefix(routes.PREFIX))
        return await exchange.respond(await self._probes.answer(request))

    def _refusal(self, exchange: Exchange, *, in_gateway: bool) -> HttpResponse | None:
        request = exchange.request
        if not request.secure:
            host = _host_name(request.host)
            hosts = self._access.hosts
            if "*" not in hosts and host not in hosts:
                return plain(421, _unknown_host(host))
        elif (
            in_gateway
            and self._names_count()
            and any(exchange.auth_context().get("x509_common_name", ()))
        ):
            return plain(400, _NAME_IGNORED)
        return None

    def _cors(self, request: HttpRequest) -> tuple[tuple[str, str], ...]:
        origins = self._access.origins
        origin = "*" if "*" in origins else request.header("origin")
        if not origin or origin not in origins:
            return ()
        return (_CORS_HEADERS, _CORS_METHODS, ("access-control-allow-origin", origin))


def _cleaned(path: str) -> str:
    """The path without empty and dotted parts. Source: Go, net/http (ServeMux)."""
    if "//" not in path and "/." not in path:
        return path
    cleaned = posixpath.normpath("/" + path.lstrip("/"))
    return cleaned + "/" if path.endswith("/") and cleaned != "/" else cleaned


def _moved(path: str, query: str) -> HttpResponse:
    place = quote(path)
    if query:
        place += "?" + quote(query, safe="/?:@!$&'()*+,;=-._~%")
    return HttpResponse(301, b"", (("location", place),))


def _host_name(host: str) -> str:
    """Without the port. Source: etcd, pkg/httputil (GetHostname)."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _unknown_host(host: str) -> str:
    return (
        f"the Host header names {host}, which --host-whitelist does not: refused as it may be an "
        "attack by DNS rebinding (CVE-2018-5702); add the name there, or use TLS"
    )
