"""Which headers of a request go on to the other end, and which of its answer come back. Pure.

Source: RFC 9110, section 7.6.1; upstream's UpgradeAwareHandler and authentication filters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from apiserver.rest.caller import BEARER_PROTOCOL
from kubraft.grpc_server.exchange import Headers, HttpRequest

_HOP_BY_HOP: Final = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
# Who asks, and as whom, is between the client and this server.
_CREDENTIALS: Final = frozenset(
    ("authorization", "x-remote-user", "x-remote-uid", "x-remote-group")
)
_CREDENTIAL_PREFIXES: Final = ("impersonate-", "x-remote-extra-")
_ALLOWANCES: Final = frozenset(
    f"access-control-allow-{name}" for name in ("credentials", "headers", "methods", "origin")
)
_FORWARDED: Final = "x-forwarded-for"


def onward(request: HttpRequest, peer: str) -> list[tuple[str, str]]:
    """Headers for the other end, but for Host; `peer` is the client's address."""
    listed = _listed(request.headers)
    forwarded = [value for name, value in request.headers if name == _FORWARDED]
    made = [
        (name, value)
        for name, value in request.headers
        if not _stays(name, listed) and name not in ("host", "expect", _FORWARDED)
    ]
    made = [(name, _protocols(value) if name == "sec-websocket-protocol" else value)
            for name, value in made]  # fmt: skip
    if peer:
        forwarded.append(peer)
    if forwarded:
        made.append((_FORWARDED, ", ".join(forwarded)))
    return made


def back(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers of an answer for the client."""
    found = [(name.lower(), value) for name, value in headers]
    listed = _listed(found)
    return [
        (name, value)
        for name, value in found
        if name not in _HOP_BY_HOP and name not in listed and name not in _ALLOWANCES
    ]


def _stays(name: str, listed: frozenset[str]) -> bool:
    return (
        name in _HOP_BY_HOP
        or name in listed
        or name in _CREDENTIALS
        or name.startswith(_CREDENTIAL_PREFIXES)
    )


def _listed(headers: Headers) -> frozenset[str]:
    """Names that Connection says are for this hop only."""
    values = (value for name, value in headers if name == "connection")
    return frozenset(part.strip().lower() for value in values for part in value.split(","))


def _protocols(value: str) -> str:
    """The subprotocols of a WebSocket without the one that carries a token."""
    kept = (part.strip() for part in value.split(","))
    return ", ".join(part for part in kept if not part.startswith(BEARER_PROTOCOL))
