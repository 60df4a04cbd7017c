"""The serving side of a WebSocket: the handshake as values, then frames by `wsproto`. No I/O.

Source: RFC 6455.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Ping,
    TextMessage,
)

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION: Final = "13"
_PROTOCOL_ERROR: Final = 1002
_NORMAL: Final = 1000
_ABSENT: Final = 1005  # a close frame without a code; may not be sent


class HandshakeError(Exception):
    """The request is no WebSocket's, or asks for what is not spoken here."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class WebSocketError(Exception):
    """The client breaks the protocol; the connection is over."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message."""

    data: bytes
    last: bool  # of its message


def accept(
    *, key: str, version: str, offered: Sequence[str], spoken: Sequence[str]
) -> tuple[str, list[tuple[str, str]]]:
    """Choose the subprotocol, and say what the answer's headers are.

    Args:
        key: the request's Sec-WebSocket-Key.
        version: its Sec-WebSocket-Version.
        offered: the subprotocols that the client offers, its favourite first.
        spoken: those of this side.

    Returns:
        The subprotocol, "" where none was offered, and the headers.

    Raises:
        HandshakeError: it cannot be answered.
    """
    if version != _VERSION:
        raise HandshakeError(400, "websocket: unsupported version: 13 not found")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        raise HandshakeError(400, "websocket: not a websocket handshake: no Sec-WebSocket-Key")
    chosen = next((name for name in offered if name in spoken), "")
    if offered and not chosen:
        listed = ", ".join(offered)[:200]
        raise HandshakeError(403, f"none of the subprotocols {listed} is spoken here")
    # What RFC 6455 asks for, and no secret.
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    headers = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-accept", base64.b64encode(digest).decode()),
    ]
    if chosen:
        headers.append(("sec-websocket-protocol", chosen))
    return chosen, headers


def offered_protocols(header: str) -> list[str]:
    """The names of a Sec-WebSocket-Protocol header."""
    return [name for word in header.split(",") if (name := word.strip())]


class WebSocket:
    """One connection after its handshake. `take` what there is to send after every other call."""

    def __init__(self) -> None:
        self._frames = Connection(ConnectionType.SERVER)
        self._out = bytearray()
        self.closed = False  # by the client, or by its fault

    def receive(self, data: bytes) -> Iterator[Part]:
        """The parts of messages that `data` has; pings and closes are answered.

        Raises:
            WebSocketError: no frame can be read any more.
        """
        if self.closed:
            return
        self._frames.receive_data(data)
        for event in self._frames.events():
            if isinstance(event, BytesMessage | TextMessage):
                raw = event.data.encode() if isinstance(event.data, str) else bytes(event.data)
                yield Part(raw, event.frame_finished and event.message_finished)
            elif isinstance(event, Ping):
                self._out += self._frames.send(event.response())
            elif isinstance(event, CloseConnection):
                self._client_closes(event)
                return

    def _client_closes(self, event: CloseConnection) -> None:
        self.closed = True
        broken = self._frames.state is ConnectionState.OPEN  # a fault, rather than a close frame
        if broken:
            self.close(int(event.code), event.reason or "")
            raise WebSocketError(event.reason or "protocol error")
        if self._frames.state is ConnectionState.REMOTE_CLOSING:
            code = int(event.code)
            answer = _NORMAL if code == _ABSENT else code
            self._out += self._frames.send(CloseConnection(answer))

    def send(self, data: bytes, *, text: bool = False) -> bool:
        """Send one message; False where the connection is closing, and nothing is sent."""
        if self._frames.state is not ConnectionState.OPEN:
            return False
        self._out += self._frames.send(
            TextMessage(data.decode("ascii")) if text else BytesMessage(data)
        )
        return True

    def close(self, code: int = _NORMAL, reason: str = "") -> None:
        """Say that this is the end."""
        if self._frames.state is ConnectionState.OPEN:
            self._out += self._frames.send(CloseConnection(code, reason[:100] or None))

    def fail(self, reason: str) -> None:
        """Say that the client has broken what is spoken in the frames."""
        self.close(_PROTOCOL_ERROR, reason)

    def take(self) -> bytes:
        """What is to be sent now."""
        out = bytes(self._out)
        self._out.clear()
        return out
