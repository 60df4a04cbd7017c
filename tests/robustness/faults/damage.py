"""Damage to the log of a member that is down."""

from __future__ import annotations

import random
from pathlib import Path

from store.raft.record import frame


def newest_segment(data_dir: Path) -> Path:
    return max(data_dir.rglob("*.wal"))


def tear(segment: Path, rng: random.Random) -> None:
    """Leave the beginning of one more record, as losing power within a write does."""
    record = frame(rng.randbytes(rng.randrange(40, 4000)), segment=int(segment.stem, 16))
    with segment.open("ab") as file:
        file.write(record[: rng.randrange(1, len(record))])


def flip_bit(segment: Path, rng: random.Random) -> str:
    """Turn one bit of it over; says where."""
    content = bytearray(segment.read_bytes())
    at = rng.randrange(len(content))
    content[at] ^= 1 << rng.randrange(8)
    segment.write_bytes(content)
    return f"a bit of byte {at} of {len(content)} flipped"
