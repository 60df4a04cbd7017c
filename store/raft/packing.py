"""How proposals lie inside entries and messages: bytes in, values out.

session u64 | sequence u64 | length u32 | data      repeated, little endian
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from store.raft.messages import KIND_MEMBERSHIP, KIND_NO_OP, KIND_PROPOSALS, Proposal

_HEAD = struct.Struct("<QQI")
OVERHEAD_BYTES = _HEAD.size
_LENGTH = struct.Struct("<I")
_LENGTH_AT = OVERHEAD_BYTES - _LENGTH.size

PROPOSALS = bytes([KIND_PROPOSALS])
NO_OP = bytes([KIND_NO_OP])
MEMBERSHIP = bytes([KIND_MEMBERSHIP])


def pack(proposals: Iterable[Proposal]) -> bytes:
    """Lay proposals out one behind the other."""
    parts: list[bytes] = []
    for session, sequence, data in proposals:
        parts.append(_HEAD.pack(session, sequence, len(data)))
        parts.append(data)
    return b"".join(parts)


def check(packed: bytes, start: int) -> None:
    """Make sure that `unpack` can read `packed`, without doing it.

    Raises:
        ValueError: `packed` ends in the middle of a proposal.
    """
    end = len(packed)
    while start + OVERHEAD_BYTES <= end:
        start += OVERHEAD_BYTES + _LENGTH.unpack_from(packed, start + _LENGTH_AT)[0]
    if start != end:
        raise ValueError("proposal cut short")


def unpack(packed: bytes, start: int = 0) -> list[Proposal]:
    """Read back what `pack` laid out, from offset `start` to the end.

    Raises:
        ValueError: `packed` ends in the middle of a proposal.
    """
    proposals: list[Proposal] = []
    end = len(packed)
    while start < end:
        if start + OVERHEAD_BYTES > end:
            raise ValueError("proposal header cut short")
        session, sequence, length = _HEAD.unpack_from(packed, start)
        start += OVERHEAD_BYTES
        if start + length > end:
            raise ValueError("proposal data cut short")
        proposals.append(Proposal(session, sequence, packed[start : start + length]))
        start += length
    return proposals
