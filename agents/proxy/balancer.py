"""Which endpoint a client gets: each in turn, or the one that it had before.

Source: Kubernetes documentation, "Virtual IPs and Service Proxies", "Session affinity".
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Collection

from agents.proxy.fronts import Backends
from agents.proxy.service_ports import Endpoint

# Clients that one front remembers; the one that was away the longest is forgotten first.
CLIENTS_MAX = 10_000


class Balancer:
    """Picks endpoints of one front. Time is passed in, in seconds of a monotonic clock."""

    def __init__(self, backends: Backends) -> None:
        self.backends = backends
        self._turn = 0
        self._kept: OrderedDict[str, tuple[Endpoint, float]] = OrderedDict()

    def replace(self, backends: Backends) -> None:
        """Pick among these from now on; clients of endpoints that are left keep theirs."""
        self.backends = backends
        if not backends.affinity_s:
            self._kept.clear()

    def admits(self, client: str) -> bool:
        """Whether that address may connect at all."""
        if not self.backends.sources:
            return True
        address = ipaddress.ip_address(client)
        return any(
            address in ipaddress.ip_network(network.strip(), strict=False)
            for network in self.backends.sources
        )

    def pick(self, client: str, now_s: float, failed: Collection[Endpoint] = ()) -> Endpoint | None:
        """An endpoint for that client's address, none of `failed`; None where none is left."""
        left = [each for each in self.backends.endpoints if each not in failed]
        if not left:
            return None
        if not self.backends.affinity_s:
            return self._next(left)
        kept = self._kept.pop(client, None)
        if kept is not None and kept[0] in left and now_s - kept[1] < self.backends.affinity_s:
            endpoint = kept[0]
        else:
            endpoint = self._next(left)
        self._kept[client] = endpoint, now_s
        if len(self._kept) > CLIENTS_MAX:
            self._kept.popitem(last=False)
        return endpoint

    def _next(self, left: list[Endpoint]) -> Endpoint:
        self._turn += 1
        return left[self._turn % len(left)]
