"""Calls webhooks over HTTPS: connections are kept, answers bounded, redirects refused.

Each host has its own bound on connections, and every call a time limit that waiting for a
connection counts against: one webhook that hangs holds up nobody but its own callers.

Source: upstream's webhook client manager; Go's net/http and client-go for the wording of failures.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
from random import Random
from typing import TYPE_CHECKING, Any, Final

from apiserver.admission.webhook.address import Address, NoAddressError, resolve
from apiserver.admission.webhook.hook import CallError, Hook
from apiserver.bounded_cache import BoundedCache
from apiserver.http_answer import AnswerTooLargeError, read_bounded
from apiserver.kept_connections import new_session
from apiserver.reader import Reader

if TYPE_CHECKING:
    import aiohttp

RESPONSE_BYTES_MAX: Final = 6 * 1024 * 1024
CONNECTIONS_PER_HOST_MAX: Final = 64
KEEPALIVE_S: Final = 30.0
_CONTEXTS_MAX: Final = 256
_SHOWN_CHARS_MAX: Final = 512
_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "kube-apiserver-admission",
}


class WebhookClient:
    """One for the process; `close` ends its connections. Used by one event loop."""

    def __init__(self, reader: Reader, rng: Random) -> None:
        self._reader = reader
        self._rng = rng
        self._session: aiohttp.ClientSession | None = None
        self._contexts: BoundedCache[tuple[str, str], ssl.SSLContext] = BoundedCache(_CONTEXTS_MAX)

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, hook: Hook, body: bytes) -> bytes:
        """The body of the answer.

        Raises:
            CallError: there was none; the message goes to the client.
        """
        try:
            address = resolve(hook.client_config, self._reader, self._rng)
            context = self._context(str(hook.client_config.get("caBundle") or ""), address.server)
        except NoAddressError as error:
            raise CallError(f"failed to call webhook: {error}") from error
        except (ssl.SSLError, ValueError, binascii.Error) as error:
            raise CallError(
                "could not get REST client: unable to load root certificates: unable to parse "
                "bytes as PEM block"
            ) from error
        shown = f'Post "{_timed(address.shown, hook.timeout_s)}"'
        try:
            async with asyncio.timeout(hook.timeout_s):
                return await self._post_twice(address, context, body, hook.timeout_s)
        except TimeoutError as error:
            raise CallError(
                f"failed to call webhook: {shown}: context deadline exceeded"
            ) from error
        except _AnswerError as error:
            raise CallError(f"failed to call webhook: {error}", error.code) from error
        except (OSError, ValueError, self._errors()) as error:
            why = failure_words(error, address)
            raise CallError(f"failed to call webhook: {shown}: {why}") from error

    async def _post_twice(
        self, address: Address, context: ssl.SSLContext, body: bytes, timeout_s: int
    ) -> bytes:
        """A kept connection may have ended meanwhile: then another is tried."""
        import aiohttp  # noqa: PLC0415 - see new_session

        try:
            return await self._post(address, context, body, timeout_s)
        except (aiohttp.ServerDisconnectedError, ConnectionResetError):
            return await self._post(address, context, body, timeout_s)

    async def _post(
        self, address: Address, context: ssl.SSLContext, body: bytes, timeout_s: int
    ) -> bytes:
        session = self._open()
        async with session.post(
            _timed(address.url, timeout_s),
            data=body,
            headers={**_HEADERS, "Host": address.host},
            ssl=context,
            server_hostname=address.server,
            allow_redirects=False,
        ) as response:
            try:
                answered = await read_bounded(response.content, RESPONSE_BYTES_MAX)
            except AnswerTooLargeError as error:
                response.close()
                raise _AnswerError(
                    f"the answer of the webhook is over {RESPONSE_BYTES_MAX} bytes"
                ) from error
            _check_status(response.status, answered)
            return answered

    def _context(self, bundle: str, server: str) -> ssl.SSLContext:
        """TLS towards one server; connections are kept by it, so each server has its own."""
        found = self._contexts.find((bundle, server))
        if found is None:
            pem = base64.b64decode(bundle, validate=True).decode("ascii") if bundle else None
            found = ssl.create_default_context(cadata=pem)
            found.set_alpn_protocols(["http/1.1"])
            self._contexts.put((bundle, server), found)
        return found

    def _open(self) -> aiohttp.ClientSession:
        """The session; made when first needed, as most clusters have no webhooks."""
        if self._session is None:
            self._session = new_session(per_host=CONNECTIONS_PER_HOST_MAX, keepalive_s=KEEPALIVE_S)
        return self._session

    @staticmethod
    def _errors() -> type[Exception]:
        import aiohttp  # noqa: PLC0415 - see _open

        return aiohttp.ClientError


class _AnswerError(Exception):
    """An answer that is none; the message is what the client is told."""

    def __init__(self, message: str, code: int = 503) -> None:
        super().__init__(message)
        self.code = code


def _timed(url: str, timeout_s: int) -> str:
    return f"{url}{'&' if '?' in url else '?'}timeout={timeout_s}s"


def _check_status(status: int, body: bytes) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise _AnswerError(
            f"the webhook answered with a redirect ({status}), none is followed", status
        )
    if status == 404:
        raise _AnswerError("the server could not find the requested resource", status)
    text = body[:_SHOWN_CHARS_MAX].decode("utf-8", "replace").strip() or "unknown"
    if status >= 500:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        raise _AnswerError(
            f'an error on the server ("{quoted}") has prevented the request from succeeding', status
        )
    raise _AnswerError(f"the server rejected our request for an unknown reason ({status})", status)


def failure_words(error: Any, address: Address) -> str:
    """What went wrong, as Go says it."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code == 62:  # X509_V_ERR_HOSTNAME_MISMATCH
            why = f"certificate is not valid for {address.server}"
        elif cause.verify_code == 10:  # X509_V_ERR_CERT_HAS_EXPIRED
            why = "certificate has expired or is not yet valid"
        else:
            why = "certificate signed by unknown authority"
        return f"tls: failed to verify certificate: x509: {why}"
    host = address.url.removeprefix("https://").partition("/")[0]
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {host}: connect: connection refused"
    if type(error).__name__ == "ServerDisconnectedError":
        return "EOF"
    if isinstance(cause, OSError) and cause.strerror:
        return f"dial tcp {host}: {cause.strerror.lower()}"[:_SHOWN_CHARS_MAX]
    return str(cause or type(error).__name__)[:_SHOWN_CHARS_MAX]
