"""Carries out the plan for the slices of one Service, on a cache that shows its own writes."""

from __future__ import annotations

from agents.controllers.action import Create, Delete, Update
from agents.controllers.context import Context
from agents.controllers.endpoints.slices import MANAGED_BY, SERVICE_NAME, Wanted, plan
from agents.controllers.executor import Executor, namespace_is_ending
from agents.controllers.own_writes import OwnWrites
from kubraft.api.errors import AlreadyExistsError, ApiError
from kubraft.api.gvk import ENDPOINT_SLICE
from kubraft.api.object import Object, ObjectKey, key_of, labels_of, uid_of
from kubraft.client.events import EventRecorder

# The cache shows own writes within milliseconds; this is for the case that an event is lost.
_CACHE_LAG_S = 1.0


class SliceWriter:
    """For the controller that calls itself `manager` in the slices' labels."""

    def __init__(self, context: Context, manager: str, recorder: EventRecorder) -> None:
        self._clock = context.clock
        self._manager = manager
        self._slices = context.informers.of(ENDPOINT_SLICE)
        self._executor = Executor(context.client, recorder)
        self._written = OwnWrites()

    def of(self, key: ObjectKey) -> list[Object]:
        """The slices of that Service which are the controller's."""
        return [
            obj
            for obj in self._slices.list(key.namespace)
            if service_key(obj, self._manager) == key
        ]

    def forget(self, key: ObjectKey) -> None:
        """The Service is gone; its slices go by their owner."""
        self._written.forget(key)

    async def clear(self, key: ObjectKey) -> None:
        """Delete the slices, which nobody wants any longer."""
        for obj in self.of(key):
            await self._executor.perform(Delete(ENDPOINT_SLICE, key_of(obj), uid_of(obj)))

    async def write(self, key: ObjectKey, wanted: Wanted) -> float | None:
        """Bring the slices to what is wanted; returns when to look again, if so.

        Raises:
            ApiError: a write failed; come back.
        """
        now_s = self._clock.monotonic_s()
        if not self._written.seen(key, self._slices.get, now_s):
            return _CACHE_LAG_S
        names = {key_of(obj).name for obj in self._slices.list(key.namespace)}
        for action in plan(wanted, self.of(key), names):
            try:
                answer = await self._executor.perform(action)
            except AlreadyExistsError:
                # Ours, by a try whose answer was lost: the cache will show it.
                return _CACHE_LAG_S
            except ApiError as error:
                if namespace_is_ending(error):
                    return None
                raise
            if answer is not None and isinstance(action, Create | Update):
                created = isinstance(action, Create)
                self._written.note(key, answer, created=created, now_s=now_s)
        return None


def service_key(obj: Object, manager: str) -> ObjectKey | None:
    """The Service of a slice that is `manager`'s."""
    labels = labels_of(obj)
    if labels.get(MANAGED_BY) != manager or not labels.get(SERVICE_NAME):
        return None
    return ObjectKey(key_of(obj).namespace, labels[SERVICE_NAME])
