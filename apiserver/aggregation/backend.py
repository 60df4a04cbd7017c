"""Connections to extension servers: TLS by their APIService, kept alive, bounded a server.

Source: kube-aggregator, transport of an APIService.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from apiserver.admission.webhook.address import Address, resolve
from apiserver.admission.webhook.client import failure_words
from apiserver.aggregation.options import AggregationOptions
from apiserver.aggregation.services import Remote
from apiserver.bounded_cache import BoundedCache
from apiserver.http_answer import AnswerTooLargeError, read_bounded
from apiserver.kept_connections import new_session
from apiserver.reader import Reader
from kubraft.streaming.relay import Destination

if TYPE_CHECKING:
    import aiohttp

CONNECTIONS_PER_SERVER_MAX: Final = 1_000
CONNECT_TIMEOUT_S: Final = 30.0
KEEPALIVE_S: Final = 60.0
_CONTEXTS_MAX: Final = 256
# Of a path, what need not be escaped. Source: RFC 3986, section 3.3.
_PATH: Final = "/:@!$&'()*+,;=-._~"
_NOT_ADDED: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class UnreachableError(Exception):
    """A server cannot be asked, or does not answer; the message says why, as Go says it."""


class Backends:
    """One for the process; `close` ends its connections. Used by one event loop."""

    def __init__(self, reader: Reader, rng: Random, options: AggregationOptions) -> None:
        self._reader = reader
        self._rng = rng
        self._options = options
        self._session: aiohttp.ClientSession | None = None
        self._contexts: BoundedCache[tuple[str, str, bool], ssl.SSLContext]
        self._contexts = BoundedCache(_CONTEXTS_MAX)

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def address(self, remote: Remote) -> Address:
        """Where a server listens at this moment; raises NoAddressError."""
        reference = {"name": remote.service, "namespace": remote.namespace, "port": remote.port}
        return resolve({"service": reference}, self._reader, self._rng)

    @asynccontextmanager
    async def ask(
        self,
        remote: Remote,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: list[tuple[str, str]],
        body: AsyncIterator[bytes] | bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer of a server, whose body is still to be read.

        Raises:
            NoAddressError: there is nowhere to connect to.
            UnreachableError: there was no answer.
        """
        import aiohttp  # noqa: PLC0415 - rare, and slow to import
        from multidict import CIMultiDict  # noqa: PLC0415
        from yarl import URL  # noqa: PLC0415

        address = self.address(remote)
        target = quote(path, safe=_PATH) + (f"?{query}" if query else "")
        sent = CIMultiDict([*headers, ("Host", address.host)])
        try:
            response = await self._open().request(
                method,
                URL(f"{address.url}{target}", encoded=True),
                headers=sent,
                data=body,
                ssl=self.context(remote),
                server_hostname=remote.server,
                allow_redirects=False,
                skip_auto_headers=_NOT_ADDED,
            )
        except TimeoutError as error:
            host = address.url.removeprefix("https://")
            raise UnreachableError(f"dial tcp {host}: i/o timeout") from error
        except (OSError, ValueError, aiohttp.ClientError) as error:
            raise UnreachableError(failure_words(error, address)) from error
        async with response:
            yield response

    def destination(self, remote: Remote, path: str, query: str) -> tuple[Destination, str]:
        """Where an upgrade goes, and the host that it names.

        Raises:
            NoAddressError: there is nowhere to connect to.
            UnreachableError: its bundle is none.
        """
        address = self.address(remote)
        place = urlsplit(address.url)
        assert place.hostname is not None
        target = quote(path, safe=_PATH) + (f"?{query}" if query else "")
        context, server = self.context(remote), remote.server
        found = Destination(place.hostname, place.port or 443, target, context, server)
        return found, address.host

    def context(self, remote: Remote) -> ssl.SSLContext:
        """TLS towards a server; raises UnreachableError where its bundle is none."""
        key = (remote.ca_bundle, remote.server, remote.insecure)
        found = self._contexts.find(key)
        if found is None:
            try:
                found = self._new_context(remote)
            except (ssl.SSLError, ValueError, binascii.Error) as error:
                raise UnreachableError(
                    "unable to load root certificates: unable to parse bytes as PEM block"
                ) from error
            self._contexts.put(key, found)
        return found

    def _new_context(self, remote: Remote) -> ssl.SSLContext:
        pem = base64.b64decode(remote.ca_bundle, validate=True).decode("ascii")
        context = ssl.create_default_context(cadata=pem or None)
        context.set_alpn_protocols(["http/1.1"])
        if remote.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        options = self._options
        if options.client_certificate and options.client_key:
            context.load_cert_chain(options.client_certificate, options.client_key)
        return context

    def _open(self) -> aiohttp.ClientSession:
        """The session; made when first needed, as most clusters have no such servers."""
        if self._session is None:
            self._session = new_session(
                per_host=CONNECTIONS_PER_SERVER_MAX,
                keepalive_s=KEEPALIVE_S,
                connect_s=CONNECT_TIMEOUT_S,
            )
        return self._session


async def whole(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """The body of an answer; raises UnreachableError where it is over `bytes_max`."""
    try:
        return await read_bounded(response.content, bytes_max)
    except AnswerTooLargeError as error:
        response.close()
        raise UnreachableError(str(error)) from error
