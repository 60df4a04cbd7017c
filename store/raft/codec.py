"""The bytes of a peer message: one type byte, then fixed fields, then what varies. Pure.

Integers are little endian. Decoding checks every length and accepts nothing but what `encode`
writes, so a malformed frame is a `ValueError` and never anything else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from store.raft import messages as m
from store.raft.packing import check, pack, unpack

_ENTRY = struct.Struct("<QQI")
_VOTER = struct.Struct("<QH")
_COUNT = struct.Struct("<I")
_URL_BYTES_MAX = 1024
# Terms and indices are counted up by one at a time and never come near it; numbers drawn by
# chance are drawn below it.
_NUMBER_MAX = 1 << 63


def _encode_entries(entries: tuple[m.Entry, ...]) -> bytes:
    parts = [_COUNT.pack(len(entries))]
    for data, index, term in entries:
        parts.append(_ENTRY.pack(index, term, len(data)))
        parts.append(data)
    return b"".join(parts)


def _decode_entries(body: bytes) -> tuple[m.Entry, ...]:
    (count,) = _COUNT.unpack_from(body)
    at = _COUNT.size
    entries: list[m.Entry] = []
    last = 0
    for _ in range(count):
        index, term, length = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size
        if not length or at + length > len(body):
            raise ValueError("entry cut short")
        if term >= _NUMBER_MAX or (last and index != last + 1):
            raise ValueError(f"entry {index} of term {term} behind entry {last}")
        data = body[at : at + length]
        _check_data(data)
        entries.append(m.Entry(data, index, term))
        last = index
        at += length
    if at != len(body):
        raise ValueError("bytes behind the entries")
    return tuple(entries)


def _check_data(data: bytes) -> None:
    """Refuse an entry that could not be applied, while that concerns one connection only."""
    if data[0] == m.KIND_PROPOSALS:
        check(data, 1)
    elif data[0] == m.KIND_MEMBERSHIP:
        decode_voters(data[1:])
    elif data[0] != m.KIND_NO_OP:
        raise ValueError(f"entry of unknown kind {data[0]}")


def encode_voters(voters: Mapping[int, str]) -> bytes:
    """Member ids with their peer URLs, in ascending order of id."""
    parts: list[bytes] = []
    for member_id, url in sorted(voters.items()):
        raw = url.encode()
        if len(raw) > _URL_BYTES_MAX:
            raise ValueError(f"peer URL of {len(raw)} bytes")
        parts.append(_VOTER.pack(member_id, len(raw)))
        parts.append(raw)
    return b"".join(parts)


def decode_voters(body: bytes) -> dict[int, str]:
    """Read back `encode_voters`.

    Raises:
        ValueError: `body` is not what `encode_voters` writes.
    """
    voters: dict[int, str] = {}
    at = 0
    while at < len(body):
        if at + _VOTER.size > len(body):
            raise ValueError("voter cut short")
        member_id, length = _VOTER.unpack_from(body, at)
        at += _VOTER.size
        if length > _URL_BYTES_MAX or at + length > len(body):
            raise ValueError("peer URL cut short")
        voters[member_id] = body[at : at + length].decode()
        at += length
    return voters


def _encode_sequences(sequences: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{len(sequences)}Q", *sequences)


def _decode_sequences(body: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(body) // 8}Q", body)


# Type byte, class, fixed fields in the order of the dataclass, and the codec of its last field
# where that varies in length. Numbers are never reused.
_Tail = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
_TABLE: tuple[tuple[int, type, str, _Tail | None], ...] = (
    (1, m.Append, "<QQQQQ", (_encode_entries, _decode_entries)),
    (2, m.Heartbeat, "<QQ", None),
    (3, m.InstallSnapshot, "<QQQQ", (encode_voters, decode_voters)),
    (4, m.Ack, "<QQQQ??", None),
    (5, m.VoteRequest, "<QQQ?", None),
    (6, m.Vote, "<Q", None),
    (7, m.PreVoteRequest, "<QQQQ", None),
    (8, m.PreVote, "<QQ?", None),
    (9, m.TimeoutNow, "<Q", None),
    (10, m.Forward, "<Q", (pack, lambda body: tuple(unpack(body)))),
    (11, m.ForwardRefusal, "<Q", (_encode_sequences, _decode_sequences)),
    (12, m.ReadRequest, "<QQ", None),
    (13, m.ReadReply, "<QQQ", None),
    (14, m.ChangeRequest, "<QQQ", (encode_voters, decode_voters)),
    (15, m.ChangeReply, "<QQQQ", None),
    (16, m.Fence, "<QQ", None),
    (17, m.FenceReply, "<QQQ", None),
)
_BY_CLASS = {
    cls: (bytes([number]), struct.Struct(fixed), cls.__slots__, tail)  # type: ignore[attr-defined]
    for number, cls, fixed, tail in _TABLE
}
_BY_NUMBER = {number: (cls, struct.Struct(fixed), tail) for number, cls, fixed, tail in _TABLE}


def encode(message: m.Message) -> bytes:
    """The bytes of one message."""
    number, fixed, fields, tail = _BY_CLASS[type(message)]
    values = [getattr(message, field) for field in fields]
    if tail is None:
        return number + fixed.pack(*values)
    varying = values.pop()
    return number + fixed.pack(*values) + tail[0](varying)


def decode(frame: bytes) -> m.Message:
    """The message that `frame` holds.

    Raises:
        ValueError: `frame` is not exactly what `encode` writes.
    """
    if not frame or frame[0] not in _BY_NUMBER:
        raise ValueError(f"unknown message type {frame[:1].hex() or 'none'}")
    cls, fixed, tail = _BY_NUMBER[frame[0]]
    try:
        values = fixed.unpack_from(frame, 1)
        if max(values) >= _NUMBER_MAX:
            raise ValueError(f"malformed {cls.__name__}: {max(values)} is no term, index or number")
        rest = frame[1 + fixed.size :]
        if tail is not None:
            message = cls(*values, tail[1](rest))
        elif rest:
            raise ValueError(f"{len(rest)} bytes too many")
        else:
            message = cls(*values)
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"malformed {cls.__name__}: {error}") from error
    return message  # type: ignore[no-any-return]
