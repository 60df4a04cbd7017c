"""Which ranges are free for Nodes. No I/O; one owner, no task switches within.

A cluster has a pool for each family: 10.244.0.0/16 cut into /24. A range that is given back is
given again last, as a cursor goes round: connections of its old Pods are forgotten by then.

Source: kube-controller-manager, --cluster-cidr, --node-cidr-mask-size, --service-cluster-ip-range.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from kubraft.api.networks import Network, find_network

# More bits would be more ranges than a pool remembers; upstream's bound too.
_BITS_MAX: Final = 16
MASK_SIZES: Final = {4: 24, 6: 64}


@dataclass(frozen=True, slots=True)
class Pool:
    """A range of the cluster, and how long the prefix of a Node's part is.

    Raises:
        ValueError: the parts would be larger than the whole, or too many.
    """

    network: Network
    node_prefix: int

    def __post_init__(self) -> None:
        bits = self.node_prefix - self.network.prefixlen
        if bits < 0 or self.node_prefix > self.network.max_prefixlen:
            raise ValueError(
                f"--node-cidr-mask-size: /{self.node_prefix} does not fit into {self.network}"
            )
        if bits > _BITS_MAX:
            raise ValueError(
                f"--node-cidr-mask-size: /{self.node_prefix} in {self.network} is more than "
                f"{2**_BITS_MAX} ranges"
            )

    @property
    def size(self) -> int:
        return 1 << (self.node_prefix - self.network.prefixlen)

    def part(self, index: int) -> str:
        """The range of that index, from 0."""
        step = 1 << (self.network.max_prefixlen - self.node_prefix)
        first = self.network.network_address + index * step
        return str(ip_network(f"{first}/{self.node_prefix}"))

    def parts_under(self, other: Network) -> range:
        """The indices of the parts that share addresses with `other`."""
        if other.version != self.network.version or not self.network.overlaps(other):
            return range(0)
        shift = self.network.max_prefixlen - self.node_prefix
        start = int(self.network.network_address)
        first = max(0, int(other.network_address) - start) >> shift
        last = min(int(other.broadcast_address) - start, self.network.num_addresses - 1) >> shift
        return range(first, last + 1)


class Pools:
    """Who holds which range; a holder has one of each pool, or such as somebody else gave it."""

    def __init__(self, pools: Sequence[Pool], reserved: Iterable[Network] = ()) -> None:
        """`reserved` are not given to anybody: those of Services."""
        self._pools = tuple(pools)
        self._held: dict[str, tuple[str, ...]] = {}
        self._used: list[Counter[int]] = [Counter() for _ in pools]
        self._next = [0 for _ in pools]
        self._count(reserved, 1)

    def held_by(self, holder: str) -> tuple[str, ...]:
        """Empty where it holds none."""
        return self._held.get(holder, ())

    def hold(self, holder: str, cidrs: Sequence[str]) -> None:
        """Know that a holder has these and no others; those of other clusters are no matter."""
        if self._held.get(holder) == tuple(cidrs):
            return
        self.release(holder)
        self._held[holder] = tuple(cidrs)
        self._count(_networks(cidrs), 1)

    def release(self, holder: str) -> bool:
        """Whether it held any."""
        cidrs = self._held.pop(holder, ())
        self._count(_networks(cidrs), -1)
        return bool(cidrs)

    def give(self, holder: str) -> tuple[str, ...]:
        """A free range of each pool, which the holder has from now on; empty where one is full."""
        found = [self._free(number) for number in range(len(self._pools))]
        if any(index is None for index in found):
            return ()
        cidrs = []
        for number, index in enumerate(found):
            assert index is not None
            cidrs.append(self._pools[number].part(index))
            self._next[number] = (index + 1) % self._pools[number].size
        self.hold(holder, cidrs)
        return tuple(cidrs)

    def _free(self, number: int) -> int | None:
        size, start, used = self._pools[number].size, self._next[number], self._used[number]
        if len(used) == size:
            return None
        return next(
            (index for at in range(size) if (index := (start + at) % size) not in used), None
        )

    def _count(self, networks: Iterable[Network], by: int) -> None:
        for network in networks:
            for pool, used in zip(self._pools, self._used, strict=True):
                for index in pool.parts_under(network):
                    used[index] += by
                    if not used[index]:
                        del used[index]


def _networks(cidrs: Iterable[str]) -> list[Network]:
    return [network for cidr in cidrs if (network := find_network(cidr)) is not None]
