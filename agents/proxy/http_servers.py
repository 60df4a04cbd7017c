"""Small HTTP servers: the proxy's own health and figures, and Services' health check node ports."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from agents.proxy.figures import Figures
from agents.proxy.health import Checked, ProxyHealth, answer_for
from kubraft.grpc_server.exchange import Exchange, HttpResponse
from kubraft.grpc_server.guard import Limits
from kubraft.grpc_server.server import GrpcServer
from kubraft.log import get_logger

_TEXT: Final = (("content-type", "text/plain; charset=utf-8"),)
_FIGURES: Final = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)
_NOT_FOUND: Final = HttpResponse(404, b"404 page not found\n", _TEXT)
_NOT_ALLOWED: Final = HttpResponse(405, b"only GET and HEAD are served\n", _TEXT)
_IDLE_S: Final = 30.0
_STOP_GRACE_S: Final = 0.2

Answer = Callable[[str], HttpResponse]


class HttpPort:
    """One listening address; `answer` is given the path."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server = GrpcServer(Limits(idle_s=_IDLE_S), http=self._handle)

    async def start(self, host: str, port: int) -> int:
        """Listen; the port.

        Raises:
            OSError: it cannot be bound.
        """
        bound = self._server.listen(host, port, None)
        await self._server.start()
        return bound

    async def stop(self) -> None:
        await self._server.stop(_STOP_GRACE_S)

    async def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        allowed = request.method in ("GET", "HEAD")
        found = self._answer(request.path) if allowed else _NOT_ALLOWED
        if request.method == "HEAD":
            found = found._replace(body=b"")
        await exchange.respond(found)


def health_answers(health: ProxyHealth, figures: Figures) -> Answer:
    """Of the health port: /healthz and /livez."""

    def answer(path: str) -> HttpResponse:
        probe = path.strip("/")
        if probe not in ("healthz", "livez"):
            return _NOT_FOUND
        found = health.answer(probe)
        figures.probed(probe, found.status)
        return found

    return answer


def figure_answers(figures: Figures, mode: Callable[[], str]) -> Answer:
    """Of the metrics port: /metrics, /healthz and /proxyMode."""

    def answer(path: str) -> HttpResponse:
        match path.rstrip("/"):
            case "/metrics":
                return HttpResponse(200, figures.text(), _FIGURES)
            case "/healthz":
                return HttpResponse(200, b"ok", _TEXT)
            case "/proxyMode":
                return HttpResponse(200, mode().encode(), _TEXT)
        return _NOT_FOUND

    return answer


class ServicePorts:
    """The servers of health check node ports; one port has one, whatever Service it is of."""

    def __init__(self, health: ProxyHealth, host: str) -> None:
        self._health = health
        self._host = host
        self._checked: dict[int, Checked] = {}
        self._open: dict[int, HttpPort] = {}
        self._failed: dict[int, str] = {}
        self._log = get_logger("proxy")

    @property
    def has_failed(self) -> bool:
        """Whether a port could not be bound; `apply` tries again."""
        return bool(self._failed)

    async def apply(self, wanted: Mapping[int, Checked]) -> None:
        """Listen on these ports, and on no others."""
        self._checked = dict(wanted)
        for port in [port for port in self._open if port not in wanted]:
            await self._open.pop(port).stop()
        failed: dict[int, str] = {}
        for port in wanted.keys() - self._open.keys():
            server = HttpPort(self._answer_of(port))
            try:
                await server.start(self._host, port)
            except OSError as error:
                failed[port] = os.strerror(error.errno) if error.errno else str(error)
                if self._failed.get(port) != failed[port]:
                    service = self._checked[port].service
                    cause = failed[port]
                    self._log.warning("no_health_check", port=port, service=service, cause=cause)
            else:
                self._open[port] = server
        self._failed = failed

    async def close(self) -> None:
        await self.apply({})

    def _answer_of(self, port: int) -> Answer:
        def answer(_path: str) -> HttpResponse:
            checked = self._checked.get(port)
            if checked is None:
                return _NOT_FOUND
            return answer_for(checked, healthy=self._health.is_healthy)

        return answer
