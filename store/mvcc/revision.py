"""Revisions: the store's clock, and the packed form under which history is kept.

`main` is the store-wide revision, one step per changing request; `sub` counts the changes within
it. A packed revision is one integer that sorts like `(main, sub)` and whose lowest bit marks a
tombstone:

    main << 32 | sub << 1 | tombstone

Source: etcd v3 data model (revisions, tombstones).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NewType, cast

Revision = NewType("Revision", int)
# (main, sub, tombstone) in one integer, see the module's text.
PackedRevision = NewType("PackedRevision", int)

_SUB_BITS = 32
# Eight bytes of main, four of sub and tombstone: the key of a record in the backend.
PACKED_BYTES = 12


def pack(main: int, sub: int, *, tombstone: bool = False) -> PackedRevision:
    return PackedRevision(main << _SUB_BITS | sub << 1 | tombstone)


def pack_tombstones(main: int, sub: int, count: int) -> Sequence[PackedRevision]:
    """Those of so many deletes in a row, the first of which is the change number `sub`."""
    first = pack(main, sub, tombstone=True)
    return cast("Sequence[PackedRevision]", range(first, first + 2 * count, 2))


def floor(main: int) -> PackedRevision:
    """The smallest packed revision of `main`."""
    return PackedRevision(main << _SUB_BITS)


def main_of(packed: int) -> Revision:
    return Revision(packed >> _SUB_BITS)


def is_tombstone(packed: int) -> bool:
    return bool(packed & 1)


def to_bytes(packed: int) -> bytes:
    """Big-endian, so that the backend's byte order is revision order."""
    return packed.to_bytes(PACKED_BYTES, "big")


def from_bytes(data: bytes) -> PackedRevision:
    return PackedRevision(int.from_bytes(data, "big"))
