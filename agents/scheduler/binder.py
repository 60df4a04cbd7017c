"""Tells the API server which node a Pod has, and finds out whether that happened."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from agents.scheduler.pod_info import PodInfo
from kubraft.api.errors import ApiError, ConflictError, ForbiddenError, InvalidError, NotFoundError
from kubraft.api.gvk import POD
from kubraft.api.object import Object, uid_of
from kubraft.api.pods import node_of
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient

_LOOK_AGAIN_S = 1.0

# The API server refused: nothing was written. After any other failure something may have been.
_REFUSED = (ConflictError, ForbiddenError, InvalidError, NotFoundError)


class Outcome(Enum):
    """What became of a binding."""

    BOUND = auto()
    FAILED = auto()  # the Pod has no node, as before, or one that somebody else gave it


class Binding(NamedTuple):
    outcome: Outcome
    message: str = ""


class Binder:
    """Binds Pods; never says FAILED of one that may yet turn out to be bound."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def bind(self, pod: PodInfo, node_name: str) -> Binding:
        """Give `pod` to the node.

        Where the answer was lost, the Pod is read back until it is known, however long the API
        server is away: until then what it takes stays taken.
        """
        try:
            await self._client.bind(pod.obj, node_name)
        except _REFUSED as error:
            return Binding(Outcome.FAILED, error.message)
        except ApiError as error:
            return await self._find_out(pod, node_name, error)
        return Binding(Outcome.BOUND)

    async def _find_out(self, pod: PodInfo, node_name: str, cause: ApiError) -> Binding:
        while True:
            try:
                stored = await self._client.get(POD, pod.key.name, pod.key.namespace)
            except NotFoundError as error:
                return Binding(Outcome.FAILED, error.message)
            except ApiError:
                await self._clock.sleep(_LOOK_AGAIN_S)
                continue
            if _is_bound(stored, pod, node_name):
                return Binding(Outcome.BOUND)
            return Binding(Outcome.FAILED, cause.message)


def _is_bound(stored: Object, pod: PodInfo, node_name: str) -> bool:
    return uid_of(stored) == pod.uid and node_of(stored) == node_name
