"""One informer a kind, shared by all controllers of a process, with the indices that they need."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kubraft.api.gvk import PERSISTENT_VOLUME, POD, GroupVersionKind
from kubraft.api.object import Object, ObjectKey, controller_of, uid_of
from kubraft.api.pods import node_of
from kubraft.api.storage import claim_key, claims_of_pod
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.informer import Indexer, Informer

# Names of the indices.
BY_UID = "uid"
BY_OWNER = "owner"  # uid of each owner
BY_CONTROLLER = "controller"  # uid of the owner that controls
ORPHANS = "orphans"  # by namespace: what no controller owns
BY_NODE = "node"  # Pods only
BY_CLAIM = "claim"  # Pods, and volumes: those that are for no claim under ""


def _uid(obj: Object) -> Iterable[str]:
    return (uid_of(obj),)


def _owners(obj: Object) -> Iterable[str]:
    return {r["uid"] for r in obj["metadata"].get("ownerReferences") or ()}


def _controller(obj: Object) -> Iterable[str]:
    return (owner["uid"],) if (owner := controller_of(obj)) else ()


def _orphan(obj: Object) -> Iterable[str]:
    return () if controller_of(obj) else (obj["metadata"].get("namespace", ""),)


def _node(pod: Object) -> Iterable[str]:
    return (name,) if (name := node_of(pod)) else ()


def _claims(pod: Object) -> Iterable[str]:
    namespace = pod["metadata"].get("namespace", "")
    return {str(ObjectKey(namespace, name)) for _volume, name, _own in claims_of_pod(pod)}


def _claim(volume: Object) -> Iterable[str]:
    return (str(claim_key(volume) or ""),)


_INDEXERS: dict[str, Indexer] = {
    BY_UID: _uid,
    BY_OWNER: _owners,
    BY_CONTROLLER: _controller,
    ORPHANS: _orphan,
}
_OF_KIND: dict[GroupVersionKind, dict[str, Indexer]] = {
    POD: {BY_NODE: _node, BY_CLAIM: _claims},
    PERSISTENT_VOLUME: {BY_CLAIM: _claim},
}


class Informers:
    """Makes an informer when a kind is first asked for; `run` runs them all, later ones too."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._by_kind: dict[GroupVersionKind, Informer] = {}
        self._tasks: dict[GroupVersionKind, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def of(self, gvk: GroupVersionKind) -> Informer:
        """The informer of that kind."""
        informer = self._by_kind.get(gvk)
        if informer is None:
            indexers = {**_INDEXERS, **_OF_KIND.get(gvk, {})}
            informer = Informer(self._client, gvk, indexers=indexers, clock=self._clock)
            self._by_kind[gvk] = informer
            self._start(gvk, informer)
        return informer

    def drop(self, gvk: GroupVersionKind) -> None:
        """Forget a kind that is no longer served; its handlers are told that all is gone."""
        informer = self._by_kind.pop(gvk, None)
        if task := self._tasks.pop(gvk, None):
            task.cancel()
        if informer is not None:
            informer.clear()

    def _start(self, gvk: GroupVersionKind, informer: Informer) -> None:
        if self._group is not None:
            self._tasks[gvk] = self._group.create_task(informer.run())

    def all(self) -> list[Informer]:
        """Those made so far."""
        return list(self._by_kind.values())

    def find_uid(self, uid: str) -> Object | None:
        """The object of that uid, of whatever kind, as far as the caches know."""
        for informer in self._by_kind.values():
            if found := informer.by_index(BY_UID, uid):
                return found[0]
        return None

    def dependents(self, uid: str) -> list[Object]:
        """The objects that name `uid` as an owner, of whatever kind, as far as the caches know."""
        return [
            obj for informer in self._by_kind.values() for obj in informer.by_index(BY_OWNER, uid)
        ]

    async def wait_synced(self) -> None:
        """Return once all that were made so far have had their first list."""
        for informer in self.all():
            await informer.wait_synced()

    async def run(self) -> None:
        """Run them until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for gvk, informer in list(self._by_kind.items()):
                    self._start(gvk, informer)
                await asyncio.Event().wait()
        finally:
            self._group = None
