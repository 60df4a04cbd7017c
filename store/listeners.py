"""The ports of a member that clients and probes come to."""

from __future__ import annotations

import structlog

from kubraft.http_server import HttpServer
from store import urls
from store.config import MemberConfig
from store.housekeeping import Housekeeping
from store.member_error import MemberError, cause_of
from store.rpc.server import StoreServer
from store.rpc.service import MemberServices
from store.tls import MemberTls

log = structlog.get_logger("store.listeners")

_STOP_GRACE_S = 0.5


class Listeners:
    """`bind`, `serve`, then `announce`, at last `stop`."""

    def __init__(self, config: MemberConfig, tls: MemberTls, server: StoreServer) -> None:
        self._config = config
        self._tls = tls
        self._server = server
        self._http: list[HttpServer] = []

    def bind(self) -> None:
        """Take the client ports.

        Raises:
            MemberError: one cannot be had.
        """
        for url in self._config.listen_client_urls:
            address = urls.address_of("listen-client-urls", url)
            tls = self._tls.client if url.startswith("https:") else None
            try:
                port = self._server.listen(address, tls)
            except OSError as error:
                raise MemberError(
                    f"--listen-client-urls {url}: cannot listen, address in use or not ours"
                ) from error
            if not address.port:
                log.info("port chosen", url=url, port=port)

    async def serve(self, services: MemberServices, housekeeping: Housekeeping) -> None:
        """Let clients and probes come.

        Raises:
            MemberError: an address of --listen-metrics-urls cannot be had.
        """
        await self._server.start()
        if not self._config.listen_metrics_urls:
            return
        from store.http_front import HttpFront  # noqa: PLC0415  # heavy, and not always there

        front = HttpFront(services, housekeeping)
        for url in self._config.listen_metrics_urls:
            address = urls.address_of("listen-metrics-urls", url)
            tls = self._tls.http if url.startswith("https:") else None
            http = HttpServer(front.handle)
            try:
                await http.start(address.host, address.port, tls, reuse_port=False)
            except OSError as error:
                raise MemberError(f"--listen-metrics-urls {url}: {cause_of(error)}") from error
            self._http.append(http)

    async def announce(self) -> None:
        """Tell health checks that all is served."""
        await self._server.set_serving(serving=True)

    async def stop(self) -> None:
        await self._server.stop(_STOP_GRACE_S)
        for http in self._http:
            await http.stop()
