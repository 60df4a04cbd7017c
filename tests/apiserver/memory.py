"""A cluster in a dict that obeys the Reader and Writer contracts, for tests of the pipeline."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Iterable

from apiserver.reader import ChangeHandler
from kubraft.api.errors import AlreadyExistsError, ConflictError, NotFoundError
from kubraft.api.gvk import GroupVersionKind, gvk_of
from kubraft.api.object import Object, ObjectKey, key_of


class MemoryCluster:
    """What is written is in the cache at once, unless `hold_cache` is set."""

    def __init__(self, *objects: Object) -> None:
        self.stored: dict[GroupVersionKind, dict[ObjectKey, Object]] = {}
        self.cached: dict[GroupVersionKind, dict[ObjectKey, Object]] = {}
        self.handlers: dict[GroupVersionKind, list[ChangeHandler]] = {}
        self.hold_cache = False
        self.writes = 0  # by MemoryWriter
        self._revisions = itertools.count(1)
        for obj in objects:
            self.put(obj)

    # Reader

    def get(self, gvk: GroupVersionKind, namespace: str, name: str) -> Object | None:
        return self.cached.get(gvk, {}).get(ObjectKey(namespace, name))

    def list(self, gvk: GroupVersionKind, namespace: str = "") -> Iterable[Object]:
        objects = sorted(self.cached.get(gvk, {}).items())
        return [o for key, o in objects if not namespace or key.namespace == namespace]

    def add_handler(self, gvk: GroupVersionKind, handler: ChangeHandler) -> None:
        self.handlers.setdefault(gvk, []).append(handler)
        for obj in self.cached.get(gvk, {}).values():
            handler(None, obj)

    # Writing as a test does

    def put(self, obj: Object) -> Object:
        """Store `obj` as it is, with a new resourceVersion and, where it has none, a uid."""
        obj = copy.deepcopy(obj)
        revision = next(self._revisions)
        obj["metadata"]["resourceVersion"] = str(revision)
        obj["metadata"].setdefault("uid", f"uid-{revision}")
        self.stored.setdefault(gvk_of(obj), {})[key_of(obj)] = obj
        if not self.hold_cache:
            self._cache(gvk_of(obj), key_of(obj), obj)
        return obj

    def remove(self, obj: Object) -> None:
        gvk, key = gvk_of(obj), key_of(obj)
        self.stored[gvk].pop(key)
        if not self.hold_cache:
            self._cache(gvk, key, None)

    def sync_cache(self) -> None:
        """Let the cache catch up with the store."""
        for gvk in {*self.stored, *self.cached}:
            stored, cached = self.stored.get(gvk, {}), self.cached.get(gvk, {})
            for key in {*stored, *cached}:
                if stored.get(key) != cached.get(key):
                    self._cache(gvk, key, stored.get(key))

    def _cache(self, gvk: GroupVersionKind, key: ObjectKey, new: Object | None) -> None:
        objects = self.cached.setdefault(gvk, {})
        old = objects.pop(key, None)
        if new is not None:
            objects[key] = new
        for handler in self.handlers.get(gvk, ()):
            handler(old, new)


class MemoryWriter:
    """Writes into a MemoryCluster; every call gives way once, so that tasks interleave."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster

    async def get(self, gvk: GroupVersionKind, namespace: str, name: str) -> Object:
        await asyncio.sleep(0)
        obj = self.cluster.stored.get(gvk, {}).get(ObjectKey(namespace, name))
        if obj is None:
            plural = f"{gvk.kind.lower()}s"
            raise NotFoundError(f'{plural} "{name}" not found', kind=plural, name=name)
        return obj

    async def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        await asyncio.sleep(0)
        if key_of(obj) in self.cluster.stored.get(gvk_of(obj), {}):
            raise AlreadyExistsError(f'"{obj["metadata"]["name"]}" already exists')
        return obj if dry_run else self._put(obj)

    async def update(self, obj: Object, subresource: str = "", *, dry_run: bool = False) -> Object:
        await asyncio.sleep(0)
        key = key_of(obj)
        old = self.cluster.stored.get(gvk_of(obj), {}).get(key)
        if old is None:
            raise NotFoundError(f'"{key.name}" not found')
        if obj["metadata"].get("resourceVersion") not in (
            None,
            "",
            old["metadata"]["resourceVersion"],
        ):
            raise ConflictError(f'Operation cannot be fulfilled on "{key.name}"')
        return obj if dry_run else self._put(obj)

    async def delete(
        self,
        gvk: GroupVersionKind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_period_s: int | None = None,
    ) -> Object:
        obj = await self.get(gvk, namespace, name)
        self.cluster.remove(obj)
        return obj

    def _put(self, obj: Object) -> Object:
        self.cluster.writes += 1
        return self.cluster.put(obj)
