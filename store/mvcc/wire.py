"""Protobuf wire encoding of the few shapes that are too hot for message objects.

A stored record already is an encoded `mvccpb.KeyValue`, so a response that carries thousands of
them is a join of bytes, not a tree of objects. Source: protobuf encoding guide.
"""

from __future__ import annotations

from functools import lru_cache

_UINT64 = (1 << 64) - 1


def varint(value: int) -> bytes:
    """Base-128 varint; a negative int64 takes ten bytes, as protobuf says."""
    if 0 <= value < _SHORT_MAX:
        return _SHORT[value]
    return _varint(value)


def _varint(value: int) -> bytes:
    value &= _UINT64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# Nearly all there are: tags, lengths.
_SHORT_MAX = 1 << 14
_SHORT = [_varint(value) for value in range(_SHORT_MAX)]


def field_varint(number: int, value: int) -> bytes:
    """A scalar field; empty for zero, the proto3 default."""
    return varint(number << 3) + varint(value) if value else b""


def field_bytes(number: int, payload: bytes) -> bytes:
    """A length-delimited field (bytes, string or message), present even when empty."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


@lru_cache(maxsize=4)
def header(revision: int) -> bytes:
    """Field 1 of every etcd response, with nothing but the revision set."""
    return field_bytes(1, field_varint(3, revision))
