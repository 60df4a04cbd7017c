"""Passes a request on to the server that has the version, and its answer back.

Both bodies are streams: neither side may send faster than the other takes. The user has been
authenticated and authorized; the other server is told who it is.

Source: kube-aggregator's proxy handler (order of checks, texts); upstream's UpgradeAwareHandler.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from apiserver.admission.webhook.address import NoAddressError
from apiserver.aggregation.backend import Backends, UnreachableError
from apiserver.aggregation.identity import forwarded, returned
from apiserver.aggregation.services import Remote
from apiserver.rest import answer
from apiserver.user import User
from kubraft.api.errors import TimeoutError_
from kubraft.grpc_server.exchange import Exchange
from kubraft.grpc_server.tunnel import UpgradeError
from kubraft.log import get_logger
from kubraft.streaming.relay import RelayError, relay, wants_upgrade

if TYPE_CHECKING:
    import aiohttp

# Of a request that is neither a watch nor another stream. Source: kube-apiserver, --request-timeout
REQUEST_TIMEOUT_S: Final = 60.0
_UNAVAILABLE: Final = "service unavailable\n"
_REDIRECTED: Final = "the backend attempted to redirect this request, which is not permitted"
_BODILESS: Final = ("GET", "HEAD")
_STATUSES: Final = frozenset(status.value for status in HTTPStatus if status >= 200)

_log = get_logger("apiserver.aggregation")


class Proxy:
    """Answers requests for what other servers have."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    async def handle(
        self, exchange: Exchange, user: User, remote: Remote, *, endless: bool = False
    ) -> None:
        """Answer one request; `endless` ones have no time limit.

        Raises:
            TimeoutError_: there is no answer in time.
            ConnectionError: the client, or the server amid its answer, is gone.
        """
        if not remote.available:
            await exchange.respond(answer.plain(503, _UNAVAILABLE))
            return
        upgrading = wants_upgrade(exchange)
        try:
            async with asyncio.timeout(None if endless or upgrading else REQUEST_TIMEOUT_S):
                if upgrading:
                    await self._relay(exchange, user, remote)
                else:
                    await self._forward(exchange, user, remote)
        except NoAddressError as error:
            _log.warning("service_unresolved", api_service=remote.name, cause=str(error))
            await exchange.respond(answer.plain(503, _UNAVAILABLE))
        except (UnreachableError, RelayError, UpgradeError) as error:
            if exchange.head_sent:
                raise ConnectionAbortedError(str(error)) from error
            text = f"error trying to reach service: {error}\n"
            await exchange.respond(answer.plain(503, text))
        except TimeoutError as error:
            text = "request did not complete within the allotted timeout"
            raise TimeoutError_(f"Timeout: {text}") from error

    async def _relay(self, exchange: Exchange, user: User, remote: Remote) -> None:
        """Leave HTTP where the server does, and pass bytes both ways."""
        request = exchange.request
        destination, host = self._backends.destination(remote, request.path, request.query)
        headers = [("Host", host), *forwarded(request.headers, user, exchange.peer)]
        await relay(exchange, destination, headers=headers)

    async def _forward(self, exchange: Exchange, user: User, remote: Remote) -> None:
        request = exchange.request
        asking = self._backends.ask(
            remote,
            request.method,
            request.path,
            query=request.query,
            headers=forwarded(request.headers, user, exchange.peer),
            body=_body(exchange) if _has_body(exchange) else None,
        )
        async with asking as found:
            if 300 <= found.status < 400 and "location" in found.headers:
                await exchange.respond(answer.plain(502, _REDIRECTED))
            elif found.status not in _STATUSES:
                raise UnreachableError(f"unexpected status {found.status}")
            else:
                await _pass_back(exchange, found)


async def _pass_back(exchange: Exchange, found: aiohttp.ClientResponse) -> None:
    import aiohttp  # noqa: PLC0415 - loaded by now

    exchange.start(found.status, returned(found.headers.items()))
    try:
        async for part in found.content.iter_any():
            await exchange.write(part)
    except aiohttp.ClientError as error:
        raise UnreachableError(str(error)) from error
    exchange.finish()


def _has_body(exchange: Exchange) -> bool:
    request = exchange.request
    if request.header("transfer-encoding"):
        return True
    if length := request.header("content-length"):
        return length != "0"
    return request.method not in _BODILESS


async def _body(exchange: Exchange) -> AsyncIterator[bytes]:
    while part := await exchange.read():
        yield part
