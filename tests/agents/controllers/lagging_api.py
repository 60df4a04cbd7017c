"""An API server whose answers may get lost, and a cache that learns of changes when told to.

Only for what the real one cannot be made to do on purpose: answers lost at a chosen moment, and an
event delivered at a chosen later one. All else is tested against the real API server.
"""

from __future__ import annotations

import copy
from collections import deque
from random import Random
from typing import Any, cast

from agents.controllers.context import Context
from agents.controllers.discovery import Discovery
from agents.controllers.informers import Informers
from agents.controllers.options import Options
from kubraft.api.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ServiceUnavailableError,
)
from kubraft.api.gvk import POD, REPLICA_SET, GroupVersionKind, gvk_of
from kubraft.api.object import Object, ObjectKey, key_of, uid_of
from kubraft.api.time import ManualClock, format_time
from kubraft.client.answers import ObjectList
from kubraft.client.client import ApiClient, Kind

Place = tuple[GroupVersionKind, ObjectKey]


class LaggingApi:
    """Stores objects; `outcomes` says how the next creates end: ok, refused, lost or unheard."""

    def __init__(self) -> None:
        self.objects: dict[Place, Object] = {}
        self.outcomes: deque[str] = deque()
        self.clock = ManualClock()
        self.informers = Informers(cast("ApiClient", self), self.clock)
        self.deleted: list[tuple[Object, frozenset[str]]] = []  # with the uids that lived then
        self._events: deque[tuple[Object | None, Object | None]] = deque()
        self._version = 0

    def context(self) -> Context:
        client = cast("ApiClient", self)
        discovery = Discovery(client, self.informers, self.clock)
        return Context(client, self.informers, discovery, Options(), self.clock, Random(7))

    def put(self, obj: Object) -> Object:
        """Store `obj` as anybody's write."""
        self._version += 1
        stored = copy.deepcopy(obj)
        stored["metadata"]["resourceVersion"] = str(self._version)
        stored["metadata"].setdefault("uid", f"uid-{self._version}")
        place = (gvk_of(stored), key_of(stored))
        self._events.append((self.objects.get(place), stored))
        self.objects[place] = stored
        return stored

    def remove(self, place: Place) -> None:
        """Delete as anybody."""
        self._events.append((self.objects.pop(place), None))

    def deliver(self, count: int = 1) -> None:
        """Let the caches see the next `count` changes."""
        for _ in range(min(count, len(self._events))):
            old, new = self._events.popleft()
            informer = self.informers.of(gvk_of(new or old or {}))
            if new is not None:
                informer._store(key_of(new), new)
            elif old is not None:
                informer._remove(key_of(old))

    def deliver_all(self) -> None:
        self.deliver(len(self._events))

    def of_kind(self, gvk: GroupVersionKind) -> list[Object]:
        return [obj for (kind, _), obj in self.objects.items() if kind == gvk]

    # What controllers call.

    async def kinds(self) -> list[Kind]:
        verbs = ("create", "delete", "get", "list", "update", "watch")
        return [
            Kind(gvk, plural, "", (), (), namespaced=True, verbs=verbs, subresources=())
            for gvk, plural in ((POD, "pods"), (REPLICA_SET, "replicasets"))
        ]

    async def create(self, obj: Object) -> Object:
        outcome = self.outcomes.popleft() if self.outcomes else "ok"
        if outcome == "refused":
            raise ForbiddenError("exceeded quota")
        if outcome == "unheard":
            raise ServiceUnavailableError("no answer, and it did not happen")
        if (gvk_of(obj), key_of(obj)) in self.objects:
            raise AlreadyExistsError("already exists")
        stored = self.put(obj)
        if outcome == "lost":
            raise ServiceUnavailableError("no answer, although it happened")
        return stored

    async def get(self, gvk: GroupVersionKind, name: str, namespace: str = "") -> Object:
        found = self.objects.get((gvk, ObjectKey(namespace, name)))
        if found is None:
            raise NotFoundError("not found")
        return found

    async def list(self, gvk: GroupVersionKind, namespace: str = "") -> ObjectList:
        found = [o for o in self.of_kind(gvk) if namespace in ("", key_of(o).namespace)]
        return ObjectList(found, resource_version=str(self._version))

    async def update(self, obj: Object, subresource: str = "") -> Object:
        stored = await self.get(gvk_of(obj), obj["metadata"]["name"], key_of(obj).namespace)
        if stored["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise ConflictError("changed")
        if subresource:
            return self.put({**stored, subresource: obj[subresource]})
        return self.put({**obj, "status": stored["status"]} if "status" in stored else obj)

    async def delete(
        self, gvk: GroupVersionKind, name: str, namespace: str = "", **options: Any
    ) -> Object:
        stored = await self.get(gvk, name, namespace)
        if options.get("uid") and options["uid"] != uid_of(stored):
            raise ConflictError("another uid")
        if options.get("resource_version", "") not in ("", stored["metadata"]["resourceVersion"]):
            raise ConflictError("changed")
        if stored["metadata"].get("finalizers"):
            metadata = {**stored["metadata"], "deletionTimestamp": format_time(self.clock.now())}
            return self.put({**stored, "metadata": metadata})
        self.deleted.append((stored, frozenset(map(uid_of, self.objects.values()))))
        self.remove((gvk, ObjectKey(namespace, name)))
        return stored

    async def patch(
        self,
        gvk: GroupVersionKind,
        name: str,
        merge: dict[str, Any],
        namespace: str = "",
        subresource: str = "",
        **options: Any,
    ) -> Object:
        stored = await self.get(gvk, name, namespace)
        metadata = {**stored["metadata"], **merge.get("metadata", {})}
        if metadata["uid"] != uid_of(stored):
            raise ConflictError("another uid")
        if options.get("resource_version", "") not in ("", stored["metadata"]["resourceVersion"]):
            raise ConflictError("changed")
        changed = {**stored, "metadata": metadata}
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self.remove((gvk, ObjectKey(namespace, name)))
            return changed
        return self.put(changed)
