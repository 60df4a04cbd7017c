"""Which kinds the API server has, for the controllers that concern themselves with all of them."""

from __future__ import annotations

from collections.abc import Callable

from agents.controllers.informers import Informers
from kubraft.api.errors import ApiError
from kubraft.api.gvk import EVENT, GroupVersionKind
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient, Kind
from kubraft.client.informer import Informer
from kubraft.log import get_logger

# How often new kinds are looked for. Source: upstream's garbage collector.
PERIOD_S = 30.0
# Events own nothing and are owned by nobody, and there are many of them.
_NOT_FOLLOWED = frozenset({EVENT})

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
        for kind in self.kinds.values():
            if not self._followers or kind.gvk in self._followed or not _can_be_followed(kind):
                continue
            self._followed.add(kind.gvk)
            informer = self._informers.of(kind.gvk)
            for follower in self._followers:
                follower(kind, informer)

    async def run(self) -> None:
        """Look for new kinds until cancelled."""
        while True:
            await self._clock.sleep(PERIOD_S)
            try:
                await self.refresh()
            except ApiError as error:
                self._log.warning("refresh_failed", cause=error.message)


def _can_be_followed(kind: Kind) -> bool:
    return kind.gvk not in _NOT_FOLLOWED and {"list", "watch", "delete"} <= set(kind.verbs)
