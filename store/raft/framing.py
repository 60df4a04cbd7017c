"""Frames on a peer connection, and the first one, which says who calls. Pure.

length u32 | payload          little endian; the payload's first byte is its type
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_LENGTH = struct.Struct("<I")
_HELLO = struct.Struct("<4sHBQQQ")
_MAGIC = b"kbR1"
PROTOCOL_VERSION = 1

# A first frame is small; accepting more from a stranger would only cost memory.
HELLO_BYTES_MAX = 1024
PURPOSE_RAFT = 1
PURPOSE_SNAPSHOT = 2
# A stranger asks who the members are; it knows no ids yet.
PURPOSE_MEMBERS = 3
# A member whose disk is empty asks whether it has taken part in the cluster before.
PURPOSE_FIRST_START = 4
# A member asks another one something besides the log.
PURPOSE_QUESTION = 5

# How a peer answers a member that was removed for good. Source: etcd, server/etcdserver.
REMOVED = "the member has been permanently removed from the cluster"

# How a peer answers a member that has taken part before. Source: etcd, server/etcdserver.
BOOTSTRAPPED = "has already been bootstrapped"

# Types that no message of codec.py has.
PING = b"\xf0"
PONG = b"\xf1"


class FrameError(ValueError):
    """What came is not a frame this member takes; the connection cannot go on."""


def frame(payload: bytes) -> bytes:
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Cuts a byte stream into payloads; holds at most one frame of `bytes_max`."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are complete with `data`.

        Raises:
            FrameError: a frame is empty or longer than `bytes_max`.
        """
        buffer = self._buffer
        buffer += data
        payloads: list[bytes] = []
        at = 0
        while len(buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if not 0 < length <= self._bytes_max:
                raise FrameError(f"frame of {length} bytes")
            start = at + _LENGTH.size
            if len(buffer) - start < length:
                break
            payloads.append(bytes(buffer[start : start + length]))
            at = start + length
        del buffer[:at]
        return payloads


@dataclass(frozen=True, slots=True)
class Hello:
    """Who calls whom, and what for."""

    cluster_id: int
    sender: int
    receiver: int
    purpose: int

    def encode(self) -> bytes:
        return _HELLO.pack(
            _MAGIC, PROTOCOL_VERSION, self.purpose, self.cluster_id, self.sender, self.receiver
        )


def decode_hello(payload: bytes) -> Hello:
    """Read a caller's first frame.

    Raises:
        FrameError: it is not one, or of another version.
    """
    if len(payload) < _HELLO.size or payload[:4] != _MAGIC:
        raise FrameError("not a member of a Kubraft store")
    _, version, purpose, cluster_id, sender, receiver = _HELLO.unpack_from(payload)
    if version != PROTOCOL_VERSION:
        raise FrameError(f"peer protocol version {version}, not {PROTOCOL_VERSION}")
    return Hello(cluster_id, sender, receiver, purpose)


def refusal(hello: Hello, *, cluster_id: int, member_id: int) -> str:
    """Why a caller is refused; empty where it is welcome."""
    if hello.purpose in (PURPOSE_MEMBERS, PURPOSE_FIRST_START):
        return ""
    if hello.cluster_id != cluster_id:
        return f"member of another cluster ({hello.cluster_id:x}, not {cluster_id:x})"
    if hello.receiver != member_id:
        return f"this is member {member_id:x}, not {hello.receiver:x}"
    if hello.sender == member_id:
        return f"another member with id {member_id:x}"
    if hello.purpose not in (PURPOSE_RAFT, PURPOSE_SNAPSHOT, PURPOSE_QUESTION):
        return f"unknown purpose {hello.purpose}"
    return ""
