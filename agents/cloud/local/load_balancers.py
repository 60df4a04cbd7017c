"""TCP and UDP balancers on loopback addresses of their own, over the nodes' ports.

Connections are carried as the service proxy in user space carries them; a target that does not
answer is passed over, and one whose checks fail gets none until they succeed again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agents.cloud.local.addresses import AddressFile, Network, free_address
from agents.cloud.local.target_health import HealthTarget, TargetHealth
from agents.cloud.provider import CloudError, Ingress
from agents.proxy.fronts import Backends, Front
from agents.proxy.listeners import Listeners
from agents.proxy.service_ports import Endpoint
from kubraft.api.object import Object, key_of, uid_of
from kubraft.api.time import Clock

CHECK_S: Final = 5.0
# While a target has failed its last check: new Pods should not wait for the next round.
SUSPECT_S: Final = 1.0
_AFFINITY_S: Final = 10_800
_ADDRESS_TYPE: Final = "InternalIP"


@dataclass(frozen=True, slots=True)
class LocalBalancer:
    """One load balancer: its fronts, and how each node is checked."""

    address: str
    fronts: dict[Front, Backends]
    checks: dict[Endpoint, HealthTarget]


class LocalLoadBalancers:
    """All load balancers of one cluster. They serve while `run` runs."""

    def __init__(self, network: Network, file: AddressFile, clock: Clock) -> None:
        self._network = network
        self._file = file
        self._clock = clock
        self._balancers: dict[str, LocalBalancer] = {}
        self._listeners = Listeners(clock)
        self._health = TargetHealth(clock)
        self._applying = asyncio.Lock()
        self._changed = asyncio.Event()

    async def ensure(self, service: Object, nodes: Sequence[Object]) -> tuple[Ingress, ...]:
        """Listen for the Service; raises CloudError, among others where a port cannot be had."""
        uid = uid_of(service)
        async with self._applying:
            taken = await asyncio.to_thread(self._file.read)
            wanted = service["spec"].get("loadBalancerIP") or ""
            address = free_address(uid, taken, self._network, wanted)
            if taken.get(uid) != address:
                await asyncio.to_thread(self._file.write, {**taken, uid: address})
            self._balancers[uid] = balancer = balancer_of(service, nodes, address)
            failed = await self._apply()
        self._changed.set()
        for front in balancer.fronts:
            if front in failed:
                raise CloudError(f"cannot listen on {front}: {failed[front]}")
        return (Ingress(ip=address, mode="Proxy"),)

    async def delete(self, service: Object) -> None:
        """Listen no more, and give the address back."""
        uid = uid_of(service)
        async with self._applying:
            self._balancers.pop(uid, None)
            await self._apply()
            taken = await asyncio.to_thread(self._file.read)
            if taken.pop(uid, None) is not None:
                await asyncio.to_thread(self._file.write, taken)

    async def run(self) -> None:
        """Check targets while there are any, until cancelled; all sockets are closed then."""
        try:
            while True:
                self._changed.clear()
                targets = {
                    target
                    for balancer in self._balancers.values()
                    for target in balancer.checks.values()
                }
                if await self._health.check(targets):
                    async with self._applying:
                        await self._apply()
                try:
                    async with asyncio.timeout(self._pause_s(bool(targets))):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            self._listeners.close()
            self._balancers.clear()

    def _pause_s(self, has_targets: bool) -> float | None:  # noqa: FBT001
        if not has_targets:
            return None
        return SUSPECT_S if self._health.has_failures else CHECK_S

    async def _apply(self) -> dict[Front, str]:
        table = {
            front: replace(backends, endpoints=tuple(self._healthy(balancer, backends)))
            for balancer in self._balancers.values()
            for front, backends in balancer.fronts.items()
        }
        return await self._listeners.apply(table)

    def _healthy(self, balancer: LocalBalancer, backends: Backends) -> Iterable[Endpoint]:
        for endpoint in backends.endpoints:
            target = balancer.checks.get(endpoint)
            if target is None or self._health.is_healthy(target):
                yield endpoint


def balancer_of(service: Object, nodes: Sequence[Object], address: str) -> LocalBalancer:
    """What a Service wants, over these nodes. Pure."""
    spec = service["spec"]
    affinity_s = 0.0
    if spec.get("sessionAffinity") == "ClientIP":
        config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        affinity_s = float(config.get("timeoutSeconds") or _AFFINITY_S)
    fronts: dict[Front, Backends] = {}
    checks: dict[Endpoint, HealthTarget] = {}
    for port in spec.get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        if protocol not in ("TCP", "UDP"):
            continue
        endpoints = _endpoints(spec, port, nodes)
        fronts[Front(protocol, address, port["port"])] = Backends(
            key_of(service),
            uid_of(service),
            endpoints,
            affinity_s,
            tuple(spec.get("loadBalancerSourceRanges") or ()),
        )
        for endpoint in endpoints:
            if health_port := spec.get("healthCheckNodePort"):
                checks[endpoint] = HealthTarget(endpoint.address, health_port, http=True)
            elif protocol == "TCP":
                checks[endpoint] = HealthTarget(endpoint.address, endpoint.port)
    return LocalBalancer(address, fronts, checks)


def _endpoints(
    spec: dict[str, Any], port: dict[str, Any], nodes: Sequence[Object]
) -> tuple[Endpoint, ...]:
    """The node port on each node; the Service's own address where it has no node ports."""
    if not port.get("nodePort"):
        own = spec.get("clusterIP") or "None"
        return () if own == "None" else (Endpoint(own, port["port"]),)
    addresses = {
        each["address"]
        for node in nodes
        for each in (node.get("status") or {}).get("addresses") or ()
        if each.get("type") == _ADDRESS_TYPE
    }
    return tuple(Endpoint(address, port["nodePort"]) for address in sorted(addresses))
