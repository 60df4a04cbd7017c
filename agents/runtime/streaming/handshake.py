"""How a request leaves HTTP: for WebSocket, or for SPDY.

Source: RFC 6455; `k8s.io/apimachinery` httpstream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kubraft.grpc_server.exchange import Exchange, Headers
from kubraft.grpc_server.tunnel import Tunnel
from kubraft.streaming.websocket import HandshakeError, accept, offered_protocols

SPDY: Final = "SPDY/3.1"
_VERSION_HEADER: Final = "x-stream-protocol-version"
_ACCEPTED_HEADER: Final = "x-accepted-stream-protocol-versions"


class Refusal(Exception):  # noqa: N818 - an answer rather than a fault
    """The request cannot be upgraded as it asks; nothing is answered yet."""

    def __init__(self, status: int, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def is_websocket(exchange: Exchange) -> bool:
    """Whether the request asks for a WebSocket."""
    return exchange.request.header("upgrade").lower() == "websocket"


def upgrade_websocket(exchange: Exchange, spoken: Sequence[str]) -> tuple[str, Tunnel]:
    """Upgrade to a WebSocket; also answers which subprotocol was chosen.

    Raises:
        Refusal: none of the client's is spoken, or the handshake is malformed.
    """
    request = exchange.request
    try:
        protocol, headers = accept(
            key=request.header("sec-websocket-key"),
            version=request.header("sec-websocket-version"),
            offered=offered_protocols(request.header("sec-websocket-protocol")),
            spoken=spoken,
        )
    except HandshakeError as error:
        raise Refusal(error.status, str(error)) from error
    return protocol, exchange.upgrade(headers)


def choose_spdy_protocol(exchange: Exchange, spoken: Sequence[str]) -> str:
    """The first of the client's stream protocols that is spoken; "" where it names none.

    Raises:
        Refusal: it wants no SPDY, or none of its protocols is spoken.
    """
    request = exchange.request
    if request.header("upgrade").lower() != SPDY.lower():
        raise Refusal(400, "Upgrade request required")
    offered = [
        name.strip()
        for key, value in request.headers
        if key == _VERSION_HEADER
        for name in value.split(",")
    ]
    if not offered:
        return ""
    for name in offered:
        if name in spoken:
            return name
    raise Refusal(
        403,
        f"unable to upgrade: unable to negotiate protocol: client supports {offered}, "
        f"server accepts {list(spoken)}",
        [(_ACCEPTED_HEADER, name) for name in spoken],
    )


def upgrade_spdy(exchange: Exchange, protocol: str) -> Tunnel:
    """Upgrade to SPDY, with the stream protocol that was chosen."""
    headers = [("upgrade", SPDY), ("connection", "Upgrade")]
    if protocol:
        headers.append((_VERSION_HEADER, protocol))
    return exchange.upgrade(headers)
