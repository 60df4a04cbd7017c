"""HTTP/2 frames: their numbers and bytes. Pure. Source: RFC 9113, sections 4 to 7."""

from __future__ import annotations

import struct
from collections.abc import Callable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9
PING_BYTES = 8
# What either side may send until told otherwise, and the most a window can be.
FRAME_BYTES = 16_384
FRAME_BYTES_LIMIT = (1 << 24) - 1
WINDOW_BYTES = 65_535
WINDOW_BYTES_MAX = (1 << 31) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

SETTING_PUSH, SETTING_STREAMS_MAX, SETTING_WINDOW, SETTING_FRAME_BYTES = 2, 3, 4, 5
SETTING_HEADER_BYTES = 6

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = (
    5,
    6,
    7,
    8,
    9,
    11,
)

_HEAD = struct.Struct(">BHBBI")
_SETTING = struct.Struct(">HI")
_U32 = struct.Struct(">I")


class ConnectionFaultError(Exception):
    """The peer broke the protocol; the connection ends with this error code."""

    def __init__(self, code: int, cause: str) -> None:
        super().__init__(cause)
        self.code = code


# Kind, flags, stream and payload of a frame.
OnFrame = Callable[[int, int, int, bytes], None]


def read(data: bytes, at: int, on_frame: OnFrame) -> int:
    """Hand on the whole frames of `data` from `at` on.

    Returns:
        Where the rest begins.

    Raises:
        ConnectionFaultError: a frame is larger than we allow.
    """
    end = len(data)
    while end - at >= HEAD_BYTES:
        length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
        if length > FRAME_BYTES:
            raise ConnectionFaultError(FRAME_SIZE_ERROR, f"frame of {length} bytes")
        start = at + HEAD_BYTES
        if start + length > end:
            break
        stream = int.from_bytes(data[at + 5 : start], "big") & WINDOW_BYTES_MAX
        at, kind, flags = start + length, data[at + 3], data[at + 4]
        on_frame(kind, flags, stream, data[start:at])
    return at


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    return _HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return head(len(payload), kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*item) for item in values.items()))


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """Raises ConnectionFaultError: not a whole number of settings."""
    if len(payload) % _SETTING.size:
        raise ConnectionFaultError(FRAME_SIZE_ERROR, "settings cut short")
    return list(_SETTING.iter_unpack(payload))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _U32.pack(increment))


def reset(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, _U32.pack(code))


def goaway(last_stream: int, code: int, cause: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, _U32.pack(last_stream) + _U32.pack(code) + cause.encode())


def u32(payload: bytes) -> int:
    """The number that a frame of four bytes holds, without its reserved bit.

    Raises:
        ConnectionFaultError: it is of another size.
    """
    if len(payload) != _U32.size:
        raise ConnectionFaultError(FRAME_SIZE_ERROR, f"frame of {len(payload)} bytes")
    return int(_U32.unpack(payload)[0]) & WINDOW_BYTES_MAX


def unpadded(flags: int, payload: bytes) -> bytes:
    """The content of a DATA or HEADERS frame without padding and priority.

    Raises:
        ConnectionFaultError: more padding than frame.
    """
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - payload[0] if payload else -1
    if flags & WITH_PRIORITY:
        start += 5
    if start > end:
        raise ConnectionFaultError(PROTOCOL_ERROR, "padding beyond the frame")
    return payload[start:end]
