"""Deletes what its owners left behind, and ends foreground and orphaning deletions.

The caches tell where to look; what is irreversible rests on live reads: an object is deleted only
if a read of its owner's name, now, finds nothing or another uid.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from agents.controllers.context import Context
from agents.controllers.garbage.judgement import (
    FOREGROUND,
    ORPHAN,
    Deed,
    Judgement,
    Owner,
    Reference,
    blocking,
    judge,
    orphans_dependents,
    owners_of,
    standing,
    waits_for_dependents,
    without_finalizer,
)
from agents.controllers.ownership import released
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import GroupVersionKind, gvk_of, parse_api_version
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, uid_of
from kubraft.client.client import Kind
from kubraft.client.controller import Controller
from kubraft.client.informer import Handler, Informer
from kubraft.log import get_logger

# An owner may be in a cache that is a moment behind the one that showed the dependent.
_CACHE_LAG_S = 0.5
# An owner of a kind that is not served (yet), and an end that waits for others, are seen to again.
_UNKNOWN_KIND_S = 30.0
_WAITING_S = 30.0
# Owners known to be gone; uids never come back. Source: upstream's absentOwnerUIDCache.
_ABSENT_MAX = 500


class Item(NamedTuple):
    """Names one object of any kind."""

    gvk: GroupVersionKind
    key: ObjectKey

    def __str__(self) -> str:
        return f"{self.gvk.kind} {self.key}"


class GarbageCollector:
    """Reconciles one object at a time per worker, by kind and key."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._informers = context.informers
        self._discovery = context.discovery
        self._absent: OrderedDict[str, None] = OrderedDict()
        self._log = get_logger("garbage-collector-controller")
        self._controller: Controller[Item] = Controller(
            "garbage-collector-controller",
            self.reconcile,
            workers=context.options.concurrent_gc_syncs,
            clock=context.clock,
        )
        context.discovery.follow(self._follow)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, item: Item) -> float | None:
        """Do what the object's owners and finalizers ask for; returns when to look again, if so."""
        cached = self._informers.of(item.gvk).get(item.key)
        if cached is not None and self._is_settled(cached):
            return None
        try:
            live = await self._client.get(item.gvk, item.key.name, item.key.namespace)
            if orphans_dependents(live):
                await self._orphan(live)
                return None
            if waits_for_dependents(live):
                return await self._end_in_foreground(live)
            if is_terminating(live):
                return None
            owners = [await self._standing(reference, live) for reference in owners_of(live)]
            known = [owner for owner in owners if owner is not None]
            if len(known) < len(owners):
                return _UNKNOWN_KIND_S
            judged = judge(live, known, self._informers.dependents(uid_of(live)))
            await self._carry_out(live, judged)
        except NotFoundError:
            return None  # gone meanwhile
        return None

    def _is_settled(self, obj: Object) -> bool:
        """Whether the caches alone show that there is nothing to do."""
        if is_terminating(obj):
            return not (orphans_dependents(obj) or waits_for_dependents(obj))
        owners = (self._informers.find_uid(r["uid"]) for r in owners_of(obj))
        return all(owner is not None and not waits_for_dependents(owner) for owner in owners)

    async def _standing(self, reference: Reference, dependent: Object) -> Owner | None:
        """How an owner stands; None where that cannot be known.

        A cache that shows the owner is believed: should it be behind, the owner's end is still to
        come and brings the dependent back. That there is no owner is never taken from a cache.
        """
        uid = reference["uid"]
        if uid in self._absent:
            return Owner.ABSENT
        if (cached := self._informers.find_uid(uid)) is not None:
            return standing(cached, uid)
        gvk = GroupVersionKind(*parse_api_version(reference["apiVersion"]), reference["kind"])
        kind = self._discovery.kinds.get(gvk)
        if kind is None:
            return None
        namespace = key_of(dependent).namespace
        if kind.namespaced and not namespace:
            # Malformed, and no reason to delete anything.
            return Owner.SOLID
        try:
            live = await self._client.get(
                gvk, reference["name"], namespace if kind.namespaced else ""
            )
        except NotFoundError:
            live = None
        stands = standing(live, uid)
        if stands is Owner.ABSENT:
            self._note_absent(uid)
        return stands

    async def _carry_out(self, obj: Object, judged: Judgement) -> None:
        if judged.deed is Deed.NOTHING:
            return
        if judged.changed is not None:
            obj = await self._client.update(judged.changed)
        if judged.deed is Deed.DELETE:
            gvk, key = gvk_of(obj), key_of(obj)
            self._log.debug("deleting", kind=gvk.kind, object=str(key))
            await self._client.delete(
                gvk,
                key.name,
                key.namespace,
                propagation=judged.propagation,
                uid=uid_of(obj),
                resource_version=obj["metadata"]["resourceVersion"],
            )

    async def _orphan(self, owner: Object) -> None:
        """Let go of every dependent, then of the owner."""
        for dependent in self._informers.dependents(uid_of(owner)):
            try:
                await self._client.update(released(dependent, uid_of(owner)))
            except NotFoundError:
                continue
        await self._client.update(without_finalizer(owner, ORPHAN))

    async def _end_in_foreground(self, owner: Object) -> float | None:
        """Let go of the owner once nothing blocks it; until then see to what does."""
        dependents = self._informers.dependents(uid_of(owner))
        if not blocking(owner, dependents):
            await self._client.update(without_finalizer(owner, FOREGROUND))
            return None
        for dependent in dependents:
            self._add(dependent)
        return _WAITING_S

    def _follow(self, kind: Kind, informer: Informer) -> None:
        informer.add_handler(self._handler(kind))

    def _handler(self, kind: Kind) -> Handler:
        def on_change(old: Object | None, new: Object | None) -> None:
            if new is None:
                self._on_gone(old or {})
            else:
                self._on_seen(Item(kind.gvk, key_of(new)), old, new)

        return on_change

    def _on_gone(self, old: Object) -> None:
        self._note_absent(uid_of(old))
        for dependent in self._informers.dependents(uid_of(old)):
            self._add(dependent)
        self._wake_waiting_owners(old)

    def _on_seen(self, item: Item, old: Object | None, new: Object) -> None:
        if orphans_dependents(new):
            self._controller.queue.add(item)
        elif waits_for_dependents(new):
            self._controller.queue.add(item)
            for dependent in self._informers.dependents(uid_of(new)):
                self._add(dependent)
        if old is not None:
            if owners_of(old) == owners_of(new):
                return
            self._wake_waiting_owners(old)
        if owners_of(new) and not self._is_settled(new):
            self._controller.queue.add_after(item, _CACHE_LAG_S)

    def _wake_waiting_owners(self, dependent: Object) -> None:
        for reference in owners_of(dependent):
            owner = self._informers.find_uid(reference["uid"])
            if owner is not None and waits_for_dependents(owner):
                self._add(owner)

    def _add(self, obj: Object) -> None:
        self._controller.queue.add(Item(gvk_of(obj), key_of(obj)))

    def _note_absent(self, uid: str) -> None:
        self._absent[uid] = None
        if len(self._absent) > _ABSENT_MAX:
            self._absent.popitem(last=False)
