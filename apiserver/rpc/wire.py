"""Answers as protobuf bytes, put together from JSON that is encoded already.

An object's bytes go to every reader as they are in the cache, so the messages around them are
written here by hand. Field numbers are those of proto/kubraft/pb/v1/objects.proto;
tests/apiserver/rpc/test_wire.py holds these bytes to the generated code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apiserver.storage.entry import EventType
from kubraft.pb.v1 import objects_pb2 as pb

EVENT_TYPES = {
    EventType.ADDED: pb.WatchEvent.ADDED,
    EventType.MODIFIED: pb.WatchEvent.MODIFIED,
    EventType.DELETED: pb.WatchEvent.DELETED,
    EventType.BOOKMARK: pb.WatchEvent.BOOKMARK,
}
_LENGTH_DELIMITED = 2


def serialize(message: Any) -> bytes:
    """For handlers: bytes are finished already."""
    raw: bytes = message if isinstance(message, bytes) else message.SerializeToString()
    return raw


def object_json(raw: bytes) -> bytes:
    """An Object in its JSON form."""
    return b"\x12" + varint(len(raw)) + raw


def list_response(
    items: Iterable[bytes], revision: int, continue_token: str, remaining: int | None
) -> bytes:
    """A ListResponse with items that are JSON."""
    parts = [_field(1, str(revision).encode())]
    if continue_token:
        parts.append(_field(2, continue_token.encode()))
    if remaining:
        parts.append(b"\x18" + varint(remaining))
    for raw in items:
        inner = varint(len(raw))
        parts += (b"\x22", varint(1 + len(inner) + len(raw)), b"\x12", inner, raw)
    return b"".join(parts)


def watch_event(type_: EventType, raw: bytes, revision: int, *, initial_end: bool = False) -> bytes:
    """A WatchEvent with an object that is JSON."""
    return b"".join(
        (
            b"\x08" + varint(EVENT_TYPES[type_]),
            _field(3, raw),
            _field(4, str(revision).encode()),
            b"\x28\x01" if initial_end else b"",
        )
    )


def varint(number: int) -> bytes:
    """A base-128 varint."""
    if number < 0x80:
        return bytes((number,))
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _field(number: int, raw: bytes) -> bytes:
    return bytes((number << 3 | _LENGTH_DELIMITED,)) + varint(len(raw)) + raw
