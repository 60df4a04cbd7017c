"""ConfigMaps and Secrets that Pods refer to: asked of the API server, and kept for when it is away.

So that a container that crashes while the API server is down is still restarted.
"""

from __future__ import annotations

from collections import OrderedDict

from kubraft.api.errors import NotFoundError, ServiceUnavailableError, TimeoutError_
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient

_OBJECTS_MAX = 1000
# After a failure the API server is not asked for so long about what is known.
_AWAY_S = 5.0


class FetchedObjects:
    """Always asks; answers from memory only where nobody else answers."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._known: OrderedDict[tuple[GroupVersionKind, str, str], Object] = OrderedDict()
        self._away_until_s = 0.0

    async def fetch(self, gvk: GroupVersionKind, namespace: str, name: str) -> Object:
        """The object, as fresh as can be had.

        Raises:
            ApiError: it does not exist, is not for this node, or is not known while nobody answers.
        """
        key = (gvk, namespace, name)
        known = self._known.get(key)
        if known is not None and self._clock.monotonic_s() < self._away_until_s:
            return known
        try:
            found = await self._client.get(gvk, name, namespace)
        except NotFoundError:
            self._known.pop(key, None)
            raise
        except (ServiceUnavailableError, TimeoutError_):
            if known is None:
                raise
            self._away_until_s = self._clock.monotonic_s() + _AWAY_S
            return known
        self._known[key] = found
        self._known.move_to_end(key)
        if len(self._known) > _OBJECTS_MAX:
            self._known.popitem(last=False)
        return found
