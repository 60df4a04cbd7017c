"""The name server's HTTP port: /health, /ready and /metrics, as CoreDNS has them on three."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kubraft.grpc_server.exchange import Exchange, HttpResponse

_TEXT: Final = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)


class HttpFront:
    """Handles every request of the port."""

    def __init__(self, is_ready: Callable[[], bool], metrics: Callable[[], bytes]) -> None:
        self._is_ready = is_ready
        self._metrics = metrics

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        match exchange.request.path:
            case "/health":
                answer = HttpResponse(200, b"OK", _TEXT)
            case "/ready" if self._is_ready():
                answer = HttpResponse(200, b"OK", _TEXT)
            case "/ready":
                answer = HttpResponse(503, b"kubernetes", _TEXT)
            case "/metrics":
                answer = HttpResponse(200, self._metrics(), _TEXT)
            case _:
                answer = HttpResponse(404, b"404 page not found\n", _TEXT)
        await exchange.respond(answer)
