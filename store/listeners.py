"""The ports of a member that clients and probes come to."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence

from kubraft.grpc_server.server import GrpcServer
from kubraft.log import get_logger
from store import urls
from store.config import MemberConfig
from store.http_front import HttpFront
from store.member_error import MemberError, cause_of
from store.probes import Probes
from store.rpc.server import StoreServer, bind
from store.tls import MemberTls
from store.urls import Address

log = get_logger("store.listeners")

Listen = Callable[[Address, ssl.SSLContext | None], int]

_STOP_GRACE_S = 0.5


class Listeners:
    """`bind`, `serve`, then `announce`, at last `stop`."""

    def __init__(
        self, config: MemberConfig, tls: MemberTls, server: StoreServer, probes: Probes
    ) -> None:
        self._config = config
        self._tls = tls
        self._server = server
        front = HttpFront(probes, None, access=config.front.access)
        self._metrics = GrpcServer(config.front.limits, http=front.handle)

    def bind(self) -> None:
        """Take the client ports.

        Raises:
            MemberError: one cannot be had.
        """
        config, server = self._config, self._server
        self._bind("listen-client-urls", config.listen_client_urls, server.listen)
        self._bind("listen-client-http-urls", config.listen_client_http_urls, server.listen_http)

    def _bind(self, flag: str, listed: Sequence[str], listen: Listen) -> None:
        for url in listed:
            address = urls.address_of(flag, url)
            tls = self._tls.client if urls.is_secure(url) else None
            try:
                port = listen(address, tls)
            except OSError as error:
                raise MemberError(f"--{flag} {url}: cannot listen: {cause_of(error)}") from error
            if not address.path and not address.port:
                log.info("port chosen", url=url, port=port)

    async def serve(self) -> None:
        """Let clients and probes come.

        Raises:
            MemberError: an address of --listen-metrics-urls cannot be had.
        """
        await self._server.start()
        for url in self._config.listen_metrics_urls:
            address = urls.address_of("listen-metrics-urls", url)
            tls = self._tls.client if urls.is_secure(url) else None
            try:
                bind(self._metrics, address, tls)
            except OSError as error:
                raise MemberError(
                    f"--listen-metrics-urls {url}: cannot listen: {cause_of(error)}"
                ) from error
        await self._metrics.start()

    async def announce(self) -> None:
        """Tell health checks that all is served."""
        await self._server.set_serving(serving=True)

    async def stop(self) -> None:
        await self._server.stop(_STOP_GRACE_S)
        await self._metrics.stop(0)
