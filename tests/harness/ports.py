"""Free TCP ports that no other test is given, not even one that runs beside this one."""

from __future__ import annotations

import itertools
import random

from kubraft.ports import free_block, is_free

_supply = itertools.chain.from_iterable(
    free_block(random.Random()).ports for _ in itertools.count()
)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on; each is given only once."""
    return list(itertools.islice(filter(is_free, _supply), count))


def free_port() -> int:
    return free_ports(1)[0]
