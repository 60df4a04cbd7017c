"""The HTTPS port of an agent that serves nothing else: /healthz, /livez, /readyz and /metrics.

Probes are for everybody; figures for whom the API server lets read them.

Source: Kubernetes documentation, "Metrics For Kubernetes System Components"; upstream's
kube-controller-manager and kube-scheduler (ports, flags, paths).
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from kubraft.agent_main import Agent
from kubraft.api.errors import ApiError
from kubraft.client import queue_figures
from kubraft.client.leader_election import MASTER_STATUS
from kubraft.delegated_auth import DelegatedAuth
from kubraft.grpc_server.exchange import Exchange, HttpResponse
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from kubraft.grpc_server.tls import serving_context
from kubraft.health.checks import Check, ping
from kubraft.health.front import HealthFront

_FILES: Final = ("--tls-cert-file", "--tls-private-key-file", "--client-ca-file")
_STOP_GRACE_S: Final = 1.0
_PARAMETERS_MAX: Final = 100
_NO_CREDENTIALS: Final = (401, "Unauthorized")
_NOT_FOUND: Final = (404, "404 page not found")


def add_secure_port_flags(parser: argparse.ArgumentParser) -> None:
    """The port's flags; names are upstream's."""
    group = parser.add_argument_group("secure serving")
    add = group.add_argument
    add("--bind-address", default="127.0.0.1")
    add("--secure-port", type=int, default=0, help="of /healthz and /metrics; none where 0")
    for flag in _FILES:
        add(flag, type=Path, help="of that port, PEM")


@contextlib.asynccontextmanager
async def secure_port(agent: Agent, *figures: Callable[[], Iterable[str]]) -> AsyncIterator[int]:
    """Serve the port that the agent's flags name while the block runs; yields it, 0 for none.

    Args:
        agent: with the flags of `add_secure_port_flags`.
        figures: lines of the agent's own, in Prometheus' text form.

    Raises:
        ValueError: there is a port and a file is not named.
        OSError: a file cannot be used, or the port cannot be bound.
    """
    given = agent.arguments
    if not given.secure_port:
        yield 0
        return
    files = []
    for flag in _FILES:
        file = getattr(given, flag.strip("-").replace("-", "_"))
        if file is None:
            raise ValueError(f"{flag} is needed with --secure-port")
        files.append(file)
    auth = DelegatedAuth(agent.client, agent.clock)
    front = Front(auth, lambda: agent.is_ready, figures)
    server = GrpcServer(Limits(), http=front.handle)
    port = server.listen(given.bind_address, given.secure_port, serving_context(*files))
    await server.start()
    try:
        yield port
    finally:
        await server.stop(_STOP_GRACE_S)


class Front:
    """Handles every request of the port."""

    def __init__(
        self,
        auth: DelegatedAuth,
        is_ready: Callable[[], bool],
        figures: Iterable[Callable[[], Iterable[str]]],
    ) -> None:
        async def synced() -> str:
            return "" if is_ready() else "the caches are not filled yet"

        alive: Mapping[str, Check] = {"ping": ping}
        probes = {"livez": alive, "healthz": alive, "readyz": {"ping": ping, "sync": synced}}
        own = (queue_figures.lines, MASTER_STATUS.lines, *figures)
        self._auth = auth
        self._health = HealthFront(probes, lambda: _text(own))

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            answer = await self._answer(exchange)
        except ApiError as error:
            answer = _plain(500, error.message)
        await exchange.respond(answer)

    async def _answer(self, exchange: Exchange) -> HttpResponse:
        request = exchange.request
        try:
            query = parse_qs(request.query, True, max_num_fields=_PARAMETERS_MAX)
        except ValueError:
            return _plain(400, "too many parameters")
        found = await self._health.find(request.method, request.path, query)
        if found is not None:
            return found
        caller = await self._auth.caller(exchange)
        if caller is None:
            return _plain(*_NO_CREDENTIALS)
        verb = "get" if request.method in ("GET", "HEAD") else request.method.lower()
        allowed, reason = await self._auth.decide(caller, {"verb": verb, "path": request.path})
        if not allowed:
            said = f'forbidden: User "{caller.name}" cannot {verb} path "{request.path}"'
            return _plain(403, f"{said}: {reason}" if reason else said)
        if request.path != "/metrics":
            return _plain(*_NOT_FOUND)
        return self._health.metrics() if verb == "get" else _plain(405, "Method Not Allowed")


def _text(figures: Iterable[Callable[[], Iterable[str]]]) -> bytes:
    return "".join(f"{line}\n" for figure in figures for line in figure()).encode()


def _plain(status: int, text: str) -> HttpResponse:
    return HttpResponse(status, f"{text}\n".encode(), (("content-type", "text/plain"),))
