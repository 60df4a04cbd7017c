"""How much is tried: the same few rounds in every run, or new ones for as long as somebody says.

KUBRAFT_FUZZ_SECONDS=600 tries new seeds for so long in each fuzzing test; a failure names its seed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

SECONDS = float(os.environ.get("KUBRAFT_FUZZ_SECONDS", "0"))


def seeds(count: int, first: int = 1) -> Iterator[int]:
    """`count` seeds, always the same; many and new ones where somebody has the time."""
    yield from range(first, first + count)
    ends, seed = time.monotonic() + SECONDS, time.time_ns() % 10**9
    while time.monotonic() < ends:
        yield seed
        seed += 1
