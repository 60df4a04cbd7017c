"""A sum over all that a database holds, by which damage is found that the database cannot see.

LMDB keeps no checksums: a bit that turns over in a value is read as it is. So the sum of all items'
CRC-32 is written with every flush, and compared when a member opens its database. A sum does not
depend on the order, so it follows each change at the cost of the changed item alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from zlib import crc32

_MASK = (1 << 64) - 1


class Part(IntEnum):
    """The parts of a database; equal items in two parts count differently."""

    RECORDS = 1
    LEASES = 2
    META = 3


def weigh(part: Part, key: bytes, value: bytes | memoryview | None) -> int:
    """What one item adds; nothing where there is none."""
    return 0 if value is None else crc32(value, crc32(key, part))


def changed(digest: int, *, gone: int, come: int) -> int:
    """The sum after items that weigh `gone` went and items that weigh `come` came."""
    return (digest - gone + come) & _MASK


def total(part: Part, items: Iterable[tuple[bytes, bytes]]) -> int:
    """What all items of a part add up to."""
    start = int(part)
    return sum(crc32(value, crc32(key, start)) for key, value in items) & _MASK
