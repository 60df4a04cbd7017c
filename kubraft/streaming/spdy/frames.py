"""SPDY/3.1 frames: bytes to frames and back.

A control frame comes whole, and is short. The bytes of a data frame come as they arrive, however
long it is. Source: SPDY Protocol Draft 3.1, section 2.2 and 2.6.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VERSION: Final = 3
FIN: Final = 1
UNIDIRECTIONAL: Final = 2
DATA_BYTES_MAX: Final = (1 << 24) - 1
# Of a control frame; headers of a stream take a hundred.
CONTROL_BYTES_MAX: Final = 16 << 10
_HEAD_BYTES: Final = 8
_ID: Final = 0x7FFF_FFFF


class SpdyError(Exception):
    """What came is no SPDY that can be answered; the connection is over."""


class Kind(IntEnum):
    """Types of control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Reset(IntEnum):
    """Why a stream is reset."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    CANCEL = 5
    INTERNAL_ERROR = 6


@dataclass(frozen=True, slots=True)
class Control:
    """A control frame; what its payload says is its reader's business."""

    kind: int
    flags: int
    payload: bytes

    @property
    def fin(self) -> bool:
        return bool(self.flags & FIN)


@dataclass(frozen=True, slots=True)
class Data:
    """A part of a stream; `fin` comes with its last part only."""

    stream: int
    data: bytes
    fin: bool


Frame = Control | Data


class FrameReader:
    """Bytes in, frames out."""

    def __init__(self) -> None:
        self._held = bytearray()
        # Of the data frame that is being read: its stream, its flags, and how much is to come.
        self._data: tuple[int, int, int] | None = None

    def receive(self, data: bytes) -> None:
        """Take what came."""
        self._held += data

    def next(self) -> Frame | None:
        """What comes next; None until more is received.

        Raises:
            SpdyError: nothing after this can be read.
        """
        if self._data is None:
            if len(self._held) < _HEAD_BYTES:
                return None
            first, second = struct.unpack_from(">II", self._held)
            if first >> 31:
                return self._control(first, second)
            del self._held[:_HEAD_BYTES]
            self._data = (first & _ID, second >> 24, second & DATA_BYTES_MAX)
        return self._part()

    def _control(self, first: int, second: int) -> Control | None:
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        flags, length = second >> 24, second & DATA_BYTES_MAX
        if version != VERSION:
            raise SpdyError(f"version {version} of SPDY is not spoken here")
        if length > CONTROL_BYTES_MAX:
            raise SpdyError("a control frame is too large")
        if len(self._held) < _HEAD_BYTES + length:
            return None
        payload = bytes(self._held[_HEAD_BYTES : _HEAD_BYTES + length])
        del self._held[: _HEAD_BYTES + length]
        return Control(kind, flags, payload)

    def _part(self) -> Data | None:
        assert self._data is not None
        stream, flags, left = self._data
        if left and not self._held:
            return None
        data = bytes(self._held[:left])
        del self._held[: len(data)]
        left -= len(data)
        self._data = (stream, flags, left) if left else None
        return Data(stream, data, bool(flags & FIN) and not left)


def control(kind: Kind, payload: bytes, flags: int = 0) -> bytes:
    """A control frame."""
    head = (0x8000 | VERSION) << 16 | kind
    return struct.pack(">II", head, flags << 24 | len(payload)) + payload


def data(stream: int, content: bytes, *, fin: bool = False) -> bytes:
    """A data frame; `content` has at most DATA_BYTES_MAX bytes."""
    return struct.pack(">II", stream, (FIN if fin else 0) << 24 | len(content)) + content


def reset(stream: int, status: Reset) -> bytes:
    """Ends a stream both ways at once."""
    return control(Kind.RST_STREAM, struct.pack(">II", stream, status))


def go_away(last_stream: int, status: int = 0) -> bytes:
    """No stream after `last_stream` is taken; a `status` other than 0 says why."""
    return control(Kind.GOAWAY, struct.pack(">II", last_stream, status))


def numbers(frame: Control, count: int) -> tuple[int, ...]:
    """The first `count` 32-bit numbers of a frame.

    Raises:
        SpdyError: it is shorter.
    """
    if len(frame.payload) < 4 * count:
        raise SpdyError("a control frame is too short")
    return struct.unpack_from(f">{count}I", frame.payload)
