"""Gives Services their addresses and node ports.

A candidate is drawn at random among those that no cached Service has; the write itself claims it
as a key of its own in the same transaction, so two API servers never give it twice.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from random import Random

from apiserver.registry.causes import invalid
from apiserver.registry.service import HEADLESS, needs_cluster_ip, needs_node_ports
from kubraft.api.errors import Cause
from kubraft.api.object import Object

SERVICE_RANGE = "10.96.0.0/16"
NODE_PORTS = range(30_000, 32_768)
_DRAWS_MAX = 64


class ServiceAllocator:
    """Fills in what a Service leaves to the server. Pure but for `rng`."""

    def __init__(
        self, services: Callable[[], Iterable[Object]], rng: Random, cidr: str = SERVICE_RANGE
    ) -> None:
        """`services` lists the Services that the cache has; ValueError where `cidr` is none."""
        self._services = services
        self._rng = rng
        self._network = ipaddress.ip_network(cidr)

    def allocate(self, obj: Object) -> list[Cause]:
        """Set spec.clusterIP(s) and ports[].nodePort where absent; causes of what cannot be had."""
        causes: list[Cause] = []
        spec = obj["spec"]
        if spec.get("type") != "ExternalName" and not spec.get("clusterIP"):
            address = self._free_address()
            if address is None:
                causes.append(
                    invalid("spec.clusterIPs", [], "failed to allocate an IP: range is full")
                )
            else:
                spec["clusterIP"], spec["clusterIPs"] = address, [address]
        elif needs_cluster_ip(obj):
            causes += self._check_address(spec["clusterIP"])
        elif spec.get("clusterIP") == HEADLESS:
            spec["clusterIPs"] = [HEADLESS]
        return causes + (self._allocate_ports(obj) if needs_node_ports(obj) else [])

    def claim_cause(self, claim: str, obj: Object) -> Cause:
        """What to say when a claim of `obj` turned out to be taken."""
        what = claim.rpartition("/")[2]
        if "." in what or ":" in what:
            detail = f"failed to allocate IP {what}: provided IP is already allocated"
            return invalid("spec.clusterIPs", [what], detail)
        index = next(
            i for i, p in enumerate(obj["spec"]["ports"]) if str(p.get("nodePort")) == what
        )
        field = f"spec.ports[{index}].nodePort"
        return invalid(field, int(what), "provided port is already allocated")

    def _check_address(self, address: str) -> list[Cause]:
        try:
            inside = ipaddress.ip_address(address) in self._network
        except ValueError:
            return []  # validation names it
        if inside:
            return []
        detail = (
            f"failed to allocate IP {address}: the provided IP ({address}) is not in the valid "
            f"range. The range of valid IPs is {self._network}"
        )
        return [invalid("spec.clusterIPs", [address], detail)]

    def _free_address(self) -> str | None:
        used = {service["spec"].get("clusterIP") for service in self._services()}
        # The first and last are the network's own, as upstream leaves them out.
        last = self._network.num_addresses - 2
        for _ in range(_DRAWS_MAX):
            address = str(self._network[self._rng.randint(1, max(last, 1))])
            if address not in used:
                return address
        candidates = (str(self._network[i]) for i in range(1, last + 1))
        return next((address for address in candidates if address not in used), None)

    def _allocate_ports(self, obj: Object) -> list[Cause]:
        used = {
            port.get("nodePort")
            for service in self._services()
            for port in service["spec"].get("ports") or ()
        }
        causes: list[Cause] = []
        for index, port in enumerate(obj["spec"].get("ports") or ()):
            field = f"spec.ports[{index}].nodePort"
            if port.get("nodePort"):
                if port["nodePort"] not in NODE_PORTS:
                    rule = "provided port is not in the valid range. The range of valid ports is "
                    causes.append(invalid(field, port["nodePort"], f"{rule}30000-32767"))
                continue
            free = [number for number in NODE_PORTS if number not in used]
            if not free:
                causes.append(invalid(field, 0, "failed to allocate a nodePort: range is full"))
                continue
            port["nodePort"] = self._rng.choice(free)
            used.add(port["nodePort"])
        return causes
