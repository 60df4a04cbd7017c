"""Channels: several streams over one WebSocket, each message led by its stream's number. No I/O.

    v5.channel.k8s.io          binary; a client ends a stream by message 255 and its number
    v4.channel.k8s.io          binary; the error channel has a Status
    v4.base64.channel.k8s.io   the number is a digit, the rest is base64; the error channel as v4
    channel.k8s.io, base64...  as v4, but the error channel has text; so it is where none is named

Source: Kubernetes, KEP-4006; `k8s.io/apimachinery` remotecommand constants.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kubraft.streaming.websocket import Part

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE: Final = 255
V5: Final = "v5.channel.k8s.io"
V4: Final = "v4.channel.k8s.io"
V4_BASE64: Final = "v4.base64.channel.k8s.io"
V1: Final = "channel.k8s.io"
V1_BASE64: Final = "base64.channel.k8s.io"
PROTOCOLS: Final = (V5, V4, V4_BASE64, V1, V1_BASE64)
# Of a message in base64, which can only be read whole.
_TEXT_BYTES_MAX: Final = 1 << 20


class ChannelError(Exception):
    """A message is none of the protocol's; the connection is over."""


@dataclass(frozen=True, slots=True)
class Said:
    """A part of what the client says on a channel."""

    channel: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The client says no more on a channel."""

    channel: int


class Channels:
    """One connection's channels, in the protocol that was chosen for it."""

    def __init__(self, protocol: str) -> None:
        self.text = protocol in (V4_BASE64, V1_BASE64)
        self.has_status = protocol in (V5, V4, V4_BASE64)
        self._has_close = protocol == V5
        self._held = bytearray()  # of a message that must be whole to be read
        self._channel: int | None = None  # of the message that is coming in parts

    def receive(self, part: Part) -> Iterator[Said | Ended]:
        """What a part of a message says.

        Raises:
            ChannelError: it is malformed or too large.
        """
        if self.text:
            yield from self._receive_text(part)
            return
        data = part.data
        if self._channel is None:
            if not data:
                return  # an empty message says nothing, as an empty part
            self._channel, data = data[0], data[1:]
        channel = self._channel
        if channel == CLOSE and self._has_close:
            yield from self._receive_close(data, last=part.last)
        elif data:
            yield Said(channel, data)
        if part.last:
            self._channel = None

    def _receive_close(self, data: bytes, *, last: bool) -> Iterator[Ended]:
        self._held += data
        if len(self._held) > 1 or (last and not self._held):
            raise ChannelError("a close signal names one channel")
        if last:
            yield Ended(self._held.pop())

    def _receive_text(self, part: Part) -> Iterator[Said]:
        self._held += part.data
        if len(self._held) > _TEXT_BYTES_MAX:
            raise ChannelError("a message is too large")
        if not part.last:
            return
        message = bytes(self._held)
        self._held.clear()
        if not message:
            return
        if not message[:1].isdigit():
            raise ChannelError("a message does not begin with a channel's number")
        try:
            data = base64.b64decode(message[1:], validate=True)
        except binascii.Error as error:
            raise ChannelError("a message is not base64") from error
        if data:
            yield Said(message[0] - ord("0"), data)

    def message(self, channel: int, data: bytes) -> bytes:
        """The message that says `data` on `channel`; text where `text` says so."""
        if self.text:
            return b"%d" % channel + base64.b64encode(data)
        return bytes((channel,)) + data
