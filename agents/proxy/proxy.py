"""Follows the cluster and has a mode carry out what it says."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final, Protocol

from agents.proxy.figures import Figures
from agents.proxy.health import ProxyHealth, checked_of
from agents.proxy.http_servers import ServicePorts
from agents.proxy.nft_table import NftError
from agents.proxy.picture import Picture
from kubraft.api.backoff import Backoff
from kubraft.api.object import ObjectKey
from kubraft.api.time import Clock
from kubraft.log import get_logger

# Changes that come together are taken together.
_GATHER_S: Final = 0.01
# A health check node port that was taken may be free again.
_RETRY_S: Final = 5.0
# What the kernel refused may be accepted later.
_BACKOFF_S_MIN: Final = 1.0
_BACKOFF_S_MAX: Final = 30.0


class Mode(Protocol):
    """How connections are led to Pods. Called by one task, never twice at once."""

    @property
    def name(self) -> str: ...

    async def sync(self, picture: Picture, changed: frozenset[ObjectKey]) -> float | None:
        """Do as the picture says, of which the Services `changed` have changed.

        Returns:
            After how long to be called again even if nothing changes; None for never.

        Raises:
            NftError: it could not be done; `changed` is remembered.
        """
        ...

    async def close(self) -> None:
        """The proxy ends."""
        ...


class Proxy:
    """The service proxy of a node, or of all nodes of a machine."""

    def __init__(
        self,
        picture: Picture,
        mode: Mode,
        figures: Figures,
        health: ProxyHealth,
        *,
        health_ports: ServicePorts,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._picture = picture
        self._mode = mode
        self._figures = figures
        self._health = health
        self._health_ports = health_ports
        self._clock = clock
        self._checks: dict[ObjectKey, int] = {}
        self._failure = ""
        self._backoff = Backoff(_BACKOFF_S_MIN, _BACKOFF_S_MAX, jitter=0.1, rng=rng)
        self._synced = asyncio.Event()
        self._log = get_logger("proxy")
        picture.on_change(figures.triggered, figures.service_changes.inc)

    async def wait_synced(self) -> None:
        """Return once clients are served."""
        await self._synced.wait()

    async def run(self) -> None:
        """Keep to the picture until cancelled."""
        try:
            while True:
                wait_s = await self._sync()
                try:
                    async with asyncio.timeout(wait_s):
                        await self._picture.news.wait()
                except TimeoutError:
                    continue
                self._health.queued()
                self._figures.last_queued_s.set(self._clock.now().timestamp())
                await self._clock.sleep(_GATHER_S)
        finally:
            await self._health_ports.close()
            await self._mode.close()

    async def _sync(self) -> float | None:
        changed = self._picture.take()
        began_s = self._clock.monotonic_s()
        self._health.node_is_going = self._picture.node_is_going()
        await self._check_ports(changed)
        try:
            wait_s = await self._mode.sync(self._picture, changed)
        except NftError as error:
            self._health.queued()
            if str(error) != self._failure:
                self._failure = str(error)
                self._log.error("sync_failed", cause=self._failure)
            return self._backoff.next_s()
        if self._failure:
            self._log.info("sync_works_again")
        self._failure = ""
        self._backoff.reset()
        self._health.updated()
        took_s = self._clock.monotonic_s() - began_s
        if changed:
            self._figures.synced(took_s, self._clock.now(), full=not self._synced.is_set())
        self._synced.set()
        if self._health_ports.has_failed:
            return _RETRY_S if wait_s is None else min(wait_s, _RETRY_S)
        return wait_s

    async def _check_ports(self, changed: frozenset[ObjectKey]) -> None:
        """Open and close health check node ports; most clusters have none."""
        place = self._picture.place()
        wanted = {}
        for key in {*changed, *self._checks}:
            self._checks.pop(key, None)
            service = self._picture.service(key)
            if service is None:
                continue
            found = checked_of(service, self._picture.slices_of(key), place)
            if found is not None:
                self._checks[key] = found[0]
                wanted[found[0]] = found[1]
        await self._health_ports.apply(wanted)
