"""The mode with rules: the kernel translates addresses, and no connection depends on a process.

Source: Kubernetes documentation, "Virtual IPs and Service Proxies" (nftables proxy mode).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agents.proxy.conntrack import SocketMaker, forget_stale, netlink_socket, udp_fronts
from agents.proxy.figures import Figures
from agents.proxy.nft_table import Nft, NftError, NftTable
from agents.proxy.picture import Picture
from agents.proxy.ruleset import Fragment, Settings, ruleset_of
from agents.proxy.service_ports import Family, Place, ServicePort, family_of, service_ports
from agents.proxy.service_rules import fragment_of
from kubraft.api.object import ObjectKey
from kubraft.api.time import Clock
from kubraft.log import get_logger

SYNC_PERIOD_S: Final = 30.0
_SWEEP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the flags say; the rest of `Settings` comes from the cluster.

    Attributes:
        pods: networks of this cluster's Pods, of both families.
        bridge: the interface, or the beginning of the names of the interfaces with "*" behind, that
            packets of this node's Pods come from; before `pods`.
        node_port_addresses: networks; None for the node's own addresses.
        sync_period_s: how often to see whether the table still is there.
    """

    pods: tuple[str, ...] = ()
    bridge: str = ""
    masquerade_bit: int = 14
    masquerade_all: bool = False
    node_port_addresses: tuple[str, ...] | None = None
    sync_period_s: float = SYNC_PERIOD_S


class _FamilyTable:
    """The rules of one family, kept by Service so that a change costs what it changes."""

    def __init__(self, family: Family, nft: Nft) -> None:
        self.table = NftTable(family, nft)
        self.settings = Settings(family)
        self._place = Place()
        self._fragments: dict[ObjectKey, Fragment] = {}

    async def apply(
        self, picture: Picture, changed: Iterable[ObjectKey], settings: Settings
    ) -> None:
        """Raises: NftError: nothing has changed in the kernel."""
        place = picture.place()
        if (settings, place) != (self.settings, self._place):
            self.settings, self._place = settings, place
            changed = {*changed, *self._fragments}
        for key in changed:
            service = picture.service(key)
            if service is None:
                self._fragments.pop(key, None)
                continue
            found = fragment_of(service, picture.slices_of(key), place, settings)
            if found.elements:
                self._fragments[key] = found
            else:
                self._fragments.pop(key, None)
        if not self._fragments and settings.family == "IPv6" and not self.table.is_known:
            return  # most clusters have none
        await self.table.apply(ruleset_of(settings, self._fragments.values()))


class NftablesMode:
    """Keeps the tables `kube-proxy` as Services and EndpointSlices say."""

    name = "nftables"

    def __init__(
        self,
        clock: Clock,
        figures: Figures,
        nft: Nft,
        options: Options,
        conntrack: SocketMaker = netlink_socket,
    ) -> None:
        self._clock = clock
        self._figures = figures
        self._options = options
        self._conntrack = conntrack
        self._families = [_FamilyTable("IPv4", nft), _FamilyTable("IPv6", nft)]
        self._ports: dict[ObjectKey, list[ServicePort]] = {}
        self._owed: set[ObjectKey] = set()
        self._verified_s = clock.monotonic_s()
        self._log = get_logger("proxy")

    async def sync(self, picture: Picture, changed: frozenset[ObjectKey]) -> float | None:
        """Make the rules those of the picture, and see to what earlier calls have left.

        Returns:
            After how many seconds to be called again, if nothing changes before.

        Raises:
            NftError: connections go on as the last call that succeeded has it.
        """
        self._owed |= changed
        tables = [each.table for each in self._families]
        if not changed:
            await self._look_after(tables)
        try:
            for family in self._families:
                settings = self._settings(picture, family.settings.family)
                await family.apply(picture, self._owed, settings)
        except NftError:
            self._figures.failures.inc()
            raise
        await self._forget_flows(picture, self._owed)
        self._count_lonely()
        self._owed.clear()
        if any(table.has_stale for table in tables):
            return _SWEEP_S
        return self._options.sync_period_s

    async def close(self) -> None:
        """Rules stay: connections and Services do without the proxy."""

    async def _look_after(self, tables: Iterable[NftTable]) -> None:
        due = self._clock.monotonic_s() - self._verified_s >= self._options.sync_period_s
        for table in tables:
            await table.sweep()
            if due and table.is_known:
                await table.verify()
        if due:
            self._verified_s = self._clock.monotonic_s()

    def _settings(self, picture: Picture, family: Family) -> Settings:
        options = self._options
        node_ports = options.node_port_addresses
        networks = picture.node_addresses() if node_ports is None else node_ports
        pods = tuple(each for each in options.pods if family_of(each) == family)
        made = Settings(
            family,
            masquerade_bit=options.masquerade_bit,
            masquerade_all=options.masquerade_all,
            node_port_networks=tuple(each for each in networks if family_of(each) == family),
            service_networks=tuple(
                each for each in picture.service_networks() if family_of(each) == family
            ),
        )
        if options.bridge:
            name = f'iifname {{}}"{options.bridge}"'
            return replace(made, pods=name.format(""), not_pods=name.format("!= "))
        if pods:
            source = f"{made.ip} saddr {{}}{{{{ {', '.join(pods)} }}}}"
            return replace(made, pods=source.format(""), not_pods=source.format("!= "))
        return made

    async def _forget_flows(self, picture: Picture, changed: Iterable[ObjectKey]) -> None:
        """Of UDP Services that have changed."""
        touched = False
        for key in changed:
            before = self._ports.pop(key, [])
            service = picture.service(key)
            if service is None:
                continue
            slices = picture.slices_of(key)
            ports: list[ServicePort] = []
            for family in ("IPv4", "IPv6"):
                ports += service_ports(service, slices, picture.place(), family)
            if ports:
                self._ports[key] = ports
            touched = touched or any(
                port.protocol == "UDP" for each in (before, ports) for port in each
            )
        if not touched:
            return
        fronts = udp_fronts(port for ports in self._ports.values() for port in ports)
        try:
            count = await asyncio.to_thread(forget_stale, fronts, self._conntrack)
        except OSError as error:
            self._log.warning("flows_not_forgotten", cause=error.strerror or str(error))
            return
        self._figures.flows_forgotten.inc(count)

    def _count_lonely(self) -> None:
        counts = Counter(_lonely(self._ports))
        for policy in ("internal", "external"):
            self._figures.no_local_endpoints.labels(policy).set(counts[policy])


def _lonely(services: Mapping[ObjectKey, list[ServicePort]]) -> Iterable[str]:
    """The policies of ports that have endpoints, and none here."""
    for ports in services.values():
        for port in ports:
            if port.internal.otherwise == "drop":
                yield "internal"
            if port.external.otherwise == "drop" and (
                port.node_port or port.balancer_ips or port.external_ips
            ):
                yield "external"
