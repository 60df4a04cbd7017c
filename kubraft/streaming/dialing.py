"""Connections to the other end, and what is said where there is none, in Go's words."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final, NamedTuple

DIAL_TIMEOUT_S: Final = 30.0
HEAD_BYTES_MAX: Final = 64 << 10
_NAME_MISMATCH: Final = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED


class Endpoint(NamedTuple):
    """Host without brackets, and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RelayError(Exception):
    """Who should answer cannot be reached, or answers no HTTP; the message says why."""


class DialError(RelayError):
    """Nobody is there, or it is not who it should be."""


async def dial(
    endpoint: Endpoint, tls: ssl.SSLContext | None, server_name: str = ""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of its own, without `tls` in the clear; the caller closes the writer.

    The certificate must be good for `server_name`, which is the host where it is empty.

    Raises:
        DialError: there is none.
    """
    try:
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                endpoint.host,
                endpoint.port,
                ssl=tls,
                server_hostname=(server_name or endpoint.host) if tls else None,
                limit=HEAD_BYTES_MAX,
            )
    except (OSError, TimeoutError, ValueError) as error:
        raise DialError(dial_words(error, endpoint, server_name)) from error
    found = writer.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return reader, writer


def dial_words(error: BaseException, endpoint: Endpoint, server_name: str = "") -> str:
    """Why a connection failed, as Go says it."""
    match error:
        case ssl.SSLCertVerificationError():
            why = f"x509: {_certificate(error, server_name or endpoint.host)}"
            return f"tls: failed to verify certificate: {why}"
        case ssl.SSLError():
            return f"tls: {error.reason or error}"
        case TimeoutError():
            return f"dial tcp {endpoint}: i/o timeout"
        case ConnectionRefusedError():
            return f"dial tcp {endpoint}: connect: connection refused"
        case socket.gaierror():
            return f"dial tcp: lookup {endpoint.host}: no such host"
        case OSError() if error.strerror:
            return f"dial tcp {endpoint}: connect: {error.strerror.lower()}"[:512]
    return f"dial tcp {endpoint}: {error or type(error).__name__}"[:512]


def _certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code in _NAME_MISMATCH:
        return f"certificate is not valid for {host}"
    if error.verify_code == _EXPIRED:
        return "certificate has expired or is not yet valid"
    return "certificate signed by unknown authority"
