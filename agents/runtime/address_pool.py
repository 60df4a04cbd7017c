"""Which Pod has which address of the node's range."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


class AddressPoolExhaustedError(Exception):
    """Every address of the range is in use."""


class AddressPool:
    """Hands out each address of a range once; a freed one is used again as late as possible.

    The network's first two addresses and its last are never handed out.
    """

    def __init__(self, cidr: str, *, used: Iterable[str] = ()) -> None:
        """`used`: addresses that Pods of a former life still hold.

        Raises:
            ValueError: `cidr` is not a range of at least four IPv4 addresses.
        """
        self._network = ipaddress.IPv4Network(cidr)
        if self._network.num_addresses < 4:
            raise ValueError(f"pod-cidr {cidr}: too small, it needs at least 4 addresses")
        self._first = int(self._network.network_address) + 2
        self._count = self._network.num_addresses - 3
        self._used = {int(ipaddress.IPv4Address(address)) for address in used}
        self._next = max((a - self._first + 1 for a in self._used), default=0) % self._count

    def __contains__(self, address: str) -> bool:
        return int(ipaddress.IPv4Address(address)) in self._used

    def allocate(self) -> str:
        """An address that nobody has.

        Raises:
            AddressPoolExhaustedError: there is none.
        """
        for step in range(self._count):
            offset = (self._next + step) % self._count
            if self._first + offset not in self._used:
                self._next = (offset + 1) % self._count
                self._used.add(self._first + offset)
                return str(ipaddress.IPv4Address(self._first + offset))
        raise AddressPoolExhaustedError(f"no free address in {self._network}")

    def release(self, address: str) -> None:
        """Give `address` back; one that is free already stays free."""
        self._used.discard(int(ipaddress.IPv4Address(address)))
