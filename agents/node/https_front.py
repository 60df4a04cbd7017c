"""The node agent's HTTPS port: who asks, whether it may, and which part answers.

Paths and refusals are the kubelet's. A part is a `Route` under the first word of its paths; add one
to the table that `NodeAgent` makes.

Source: Kubernetes documentation, "Kubelet authentication/authorization".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from agents.node.cri_client import RuntimeCallError
from kubraft.api.errors import ApiError
from kubraft.delegated_auth import DelegatedAuth
from kubraft.grpc_server.exchange import Exchange, HttpResponse
from kubraft.streaming.relay import RelayError

API_SERVER: Final = "kube-apiserver-kubelet-client"
Query = Mapping[str, Sequence[str]]

_VERBS: Final = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_PARAMETERS_MAX: Final = 4096


class RefusedError(Exception):
    """A request cannot be met; the message is for the user."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a route."""

    exchange: Exchange
    words: Sequence[str]  # of the path, after the first
    query: Query

    def first(self, name: str) -> str:
        """The first value of a parameter; "" where it is absent."""
        values = self.query.get(name)
        return values[0] if values else ""


@dataclass(frozen=True, slots=True)
class Route:
    """What answers the paths that begin with one word.

    Attributes:
        answer: answers; raises RefusedError, RuntimeCallError or RelayError before it has begun.
        methods: of HTTP; others are 405.
        subresource: of nodes, that a user must be allowed to use for it.
    """

    answer: Callable[[Asked], Awaitable[None]]
    methods: frozenset[str] = frozenset(("GET",))
    subresource: str = "proxy"


class HttpsFront:
    """Handles every HTTP request of the port."""

    def __init__(
        self, routes: Mapping[str, Route], auth: DelegatedAuth | None = None, node: str = ""
    ) -> None:
        """`auth` says who else than the API server may ask `node`; nobody where it is None."""
        self._routes = routes
        self._auth = auth
        self._node = node

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            await self._handle(exchange)
        except RefusedError as error:
            await _refuse(exchange, error.status, str(error))
        except RuntimeCallError as error:
            await _refuse(exchange, error.http_status, str(error))
        except RelayError as error:
            await _refuse(exchange, 500, str(error))

    async def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        first, *words = request.path.strip("/").split("/")
        route = self._routes.get(first)
        await self._authorize(exchange, route.subresource if route else "proxy")
        if route is None:
            raise RefusedError(404, "404 page not found")
        if request.method not in route.methods:
            exchange.headers = (("allow", ", ".join(sorted(route.methods))),)
            raise RefusedError(405, "Method Not Allowed")
        try:
            query = parse_qs(request.query, keep_blank_values=True, max_num_fields=_PARAMETERS_MAX)
        except ValueError as error:
            raise RefusedError(400, "too many parameters") from error
        await route.answer(Asked(exchange, words, query))

    async def _authorize(self, exchange: Exchange, subresource: str) -> None:
        """Let the API server in, by the certificate that TLS has checked; ask it of others."""
        names = [bytes(n).decode(errors="replace") for n in _names(exchange)]
        if API_SERVER in names:
            return
        name = names[-1] if names else ""
        verb = _VERBS.get(exchange.request.method, "")
        if self._auth is not None:
            try:
                caller = await self._auth.caller(exchange)
                name = caller.name if caller else ""
                attributes = {"verb": verb, "resource": "nodes", "name": self._node}
                attributes |= {"version": "v1", "subresource": subresource}
                if caller is not None and (await self._auth.decide(caller, attributes))[0]:
                    return
            except ApiError as error:
                raise RefusedError(500, f"Authorization error ({error.message})") from error
        if not name:
            raise RefusedError(401, "Unauthorized")
        raise RefusedError(
            403,
            f"Forbidden (user={name}, verb={verb}, resource=nodes, subresource(s)=[{subresource}])",
        )


def _names(exchange: Exchange) -> Sequence[bytes]:
    return exchange.auth_context().get("x509_common_name", ())


async def _refuse(exchange: Exchange, status: int, message: str) -> None:
    if exchange.head_sent:
        exchange.abandon()
        return
    kind = ("content-type", "text/plain; charset=utf-8")
    await exchange.respond(HttpResponse(status, f"{message}\n".encode(), (kind,)))


async def healthz(asked: Asked) -> None:
    """The agent answers, so it is well: what is wrong with the node is in its conditions."""
    kind = ("content-type", "text/plain; charset=utf-8")
    await asked.exchange.respond(HttpResponse(200, b"ok", (kind,)))
