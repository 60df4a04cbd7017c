"""Which kinds the API server has, for the controllers that concern themselves with all of them."""

from __future__ import annotations

from collections.abc import Callable

from agents.controllers.informers import Informers
from kubraft.api.errors import ApiError
from kubraft.api.gvk import CUSTOM_RESOURCE_DEFINITION, EVENT, GroupVersionKind
from kubraft.api.object import Object
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient, Kind
from kubraft.client.informer import Informer
from kubraft.log import get_logger

# How often new kinds are looked for. Source: upstream's garbage collector.
PERIOD_S = 30.0
# How soon a change of a definition is noticed.
LOOK_S = 0.5
# Events own nothing and are owned by nobody, and there are many of them.
_NOT_FOLLOWED = frozenset({EVENT, EVENT._replace(group="events.k8s.io")})

Follower = Callable[[Kind, Informer], None]


class Discovery:
    """Knows the kinds; gives those that can be watched and deleted an informer, where followed."""

    def __init__(self, client: ApiClient, informers: Informers, clock: Clock) -> None:
        self._client = client
        self._informers = informers
        self._clock = clock
        self._followers: list[Follower] = []
        self._followed: set[GroupVersionKind] = set()
        self._log = get_logger("discovery")
        self._changed = False
        self.kinds: dict[GroupVersionKind, Kind] = {}

    def follow(self, follower: Follower) -> None:
        """Have `follower` called once for each kind, in the first `refresh` and later ones."""
        self._followers.append(follower)

    async def refresh(self) -> None:
        """Ask the API server.

        Raises:
            ApiError: no answer; what was known stays.
        """
        self.kinds = {kind.gvk: kind for kind in await self._client.kinds()}
        seen: set[tuple[str, str]] = set()
        for kind in self.kinds.values():
            # All versions of a resource show the same objects; the preferred one comes first.
            resource = (kind.gvk.group, kind.plural)
            first = resource not in seen
            seen.add(resource)
            if not self._followers or kind.gvk in self._followed or not _can_be_followed(kind):
                continue
            if not first:
                continue
            self._followed.add(kind.gvk)
            informer = self._informers.of(kind.gvk)
            for follower in self._followers:
                follower(kind, informer)
            if kind.gvk == CUSTOM_RESOURCE_DEFINITION:
                informer.add_handler(self._on_definition)
        for gvk in self._followed - self.kinds.keys():
            self._followed.discard(gvk)
            self._informers.drop(gvk)

    def _on_definition(self, old: Object | None, new: Object | None) -> None:
        del old, new
        self._changed = True

    async def run(self) -> None:
        """Look for new kinds until cancelled."""
        while True:
            await self._wait()
            try:
                await self.refresh()
            except ApiError as error:
                self._log.warning("refresh_failed", cause=error.message)

    async def _wait(self) -> None:
        """Until a definition of kinds has changed, or the period is over."""
        ends_s = self._clock.monotonic_s() + PERIOD_S
        while not self._changed and self._clock.monotonic_s() < ends_s:
            await self._clock.sleep(LOOK_S)
        self._changed = False


def _can_be_followed(kind: Kind) -> bool:
    return kind.gvk not in _NOT_FOLLOWED and {"list", "watch", "delete"} <= set(kind.verbs)
