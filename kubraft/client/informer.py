"""A local cache of a kind's objects that follows the API server, and tells of each change.

The reflector lists, then watches from the list's resourceVersion, and goes on from the last event
or bookmark after any interruption, so nothing is missed and nothing comes twice. Only when the
server no longer has that history is the kind listed anew; what changed meanwhile is then found by
comparison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from random import Random

from kubraft.api.backoff import Backoff
from kubraft.api.errors import ApiError, ExpiredError
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object, ObjectKey, key_of, uid_of
from kubraft.api.time import Clock, SystemClock
from kubraft.client.client import ApiClient
from kubraft.log import get_logger

Handler = Callable[[Object | None, Object | None], None]
Indexer = Callable[[Object], Iterable[str]]

_RETRY_S_MIN = 0.1
_RETRY_S_MAX = 2.0
# A watch that lasted this long was a good one: the next failure starts with the shortest delay.
_HEALTHY_S = 5.0

_Objects = list[Object]  # the class has a method named list


class Informer:
    """Holds the objects of one kind, with indices.

    Reads never wait. Objects are shared: copy one to change it. Handlers are called from the task
    that runs `run`, one change after another, after the cache and its indices have it:
    `(None, new)` added, `(old, new)` changed, `(old, None)` gone, where `old` is exactly what was
    last passed as `new`. They must not wait; one that raises is logged and does not stop others.
    """

    def __init__(
        self,
        client: ApiClient,
        gvk: GroupVersionKind,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        indexers: Mapping[str, Indexer] | None = None,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        self.gvk = gvk
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._clock = clock or SystemClock()
        self._backoff = Backoff(
            _RETRY_S_MIN,
            _RETRY_S_MAX,
            jitter=0.5,
            rng=rng or Random(),  # noqa: S311 - no secret
        )
        self._objects: dict[ObjectKey, Object] = {}
        self._namespaces: dict[str, dict[ObjectKey, Object]] = {}
        self._indexers = dict(indexers or {})
        self._indices: dict[str, dict[str, dict[ObjectKey, Object]]] = {
            name: {} for name in self._indexers
        }
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()
        self._log = get_logger("informer", kind=gvk.kind)
        self.resource_version = ""

    def get(self, key: ObjectKey) -> Object | None:
        """The object of that key, or None."""
        return self._objects.get(key)

    def list(self, namespace: str = "") -> _Objects:
        """All objects, or those of one namespace, in no particular order."""
        found = self._namespaces.get(namespace, {}) if namespace else self._objects
        return list(found.values())

    def by_index(self, name: str, value: str) -> _Objects:
        """The objects for which indexer `name` gave `value`."""
        return list(self._indices[name].get(value, {}).values())

    def __len__(self) -> int:
        return len(self._objects)

    def add_handler(self, handler: Handler) -> None:
        """Have `handler` called for all that is there, now, and for each change from now on."""
        self._handlers.append(handler)
        for obj in list(self._objects.values()):
            self._notify(handler, None, obj)

    @property
    def synced(self) -> bool:
        """Whether the first list has arrived and its handlers have run."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once the first list has arrived and its handlers have run."""
        await self._synced.wait()

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        while True:
            began_s = self._clock.monotonic_s()
            try:
                if not self.resource_version:
                    await self._relist()
                await self._follow()
            except ExpiredError as error:
                self._log.info("relist", cause=error.message)
                self.resource_version = ""
            except ApiError as error:
                self._log.warning("interrupted", cause=error.message)
            if self._clock.monotonic_s() - began_s >= _HEALTHY_S:
                self._backoff.reset()
            await self._clock.sleep(self._backoff.next_s())

    def clear(self) -> None:
        """Take all for gone, and tell handlers so: the kind is no longer served."""
        for key in list(self._objects):
            self._remove(key)

    async def _relist(self) -> None:
        found = await self._client.list(
            self.gvk,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        listed = {key_of(obj): obj for obj in found.items}
        for key in [key for key in self._objects if key not in listed]:
            self._remove(key)
        for key, obj in listed.items():
            old = self._objects.get(key)
            if old and uid_of(old) != uid_of(obj):
                self._remove(key)
            self._store(key, obj)
        self.resource_version = found.resource_version
        self._synced.set()

    async def _follow(self) -> None:
        events = self._client.watch(
            self.gvk,
            self._namespace,
            resource_version=self.resource_version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        async with aclosing(events):
            async for event in events:
                if event.type == "DELETED":
                    self._remove(key_of(event.object))
                elif event.type != "BOOKMARK":
                    self._store(key_of(event.object), event.object)
                self.resource_version = event.resource_version or self.resource_version

    def _store(self, key: ObjectKey, new: Object) -> None:
        old = self._objects.get(key)
        if old is not None:
            if _version(old) == _version(new):
                return
            self._unindex(key, old)
        self._objects[key] = new
        self._namespaces.setdefault(key.namespace, {})[key] = new
        for name, indexer in self._indexers.items():
            for value in indexer(new):
                self._indices[name].setdefault(value, {})[key] = new
        self._tell(old, new)

    def _remove(self, key: ObjectKey) -> None:
        old = self._objects.pop(key, None)
        if old is None:
            return
        members = self._namespaces[key.namespace]
        del members[key]
        if not members:
            del self._namespaces[key.namespace]
        self._unindex(key, old)
        self._tell(old, None)

    def _unindex(self, key: ObjectKey, old: Object) -> None:
        for name, indexer in self._indexers.items():
            index = self._indices[name]
            for value in indexer(old):
                if members := index.get(value):
                    members.pop(key, None)
                    if not members:
                        del index[value]

    def _tell(self, old: Object | None, new: Object | None) -> None:
        for handler in self._handlers:
            self._notify(handler, old, new)

    def _notify(self, handler: Handler, old: Object | None, new: Object | None) -> None:
        try:
            handler(old, new)
        except Exception:  # noqa: BLE001 - must not end the process
            self._log.exception("handler_failed", object=str(key_of(new or old or {})))


def _version(obj: Object) -> str:
    version: str = obj["metadata"].get("resourceVersion", "")
    return version
