"""Binds claims to volumes, and sees to volumes whose claim is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agents.controllers.context import Context
from agents.controllers.executor import Executor
from agents.controllers.informers import BY_CLAIM
from agents.controllers.volumes.claim_plan import Picture, plan_claim
from agents.controllers.volumes.volume_plan import Unsure, plan_volume
from kubraft.api import storage
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, POD, STORAGE_CLASS
from kubraft.api.object import Object, ObjectKey, key_of
from kubraft.client.controller import Controller

_NAME = "persistentvolume-binder-controller"


class VolumeBinder:
    """Two queues, of claims and of volumes; what one writes, the other is told by the watch."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._executor = Executor(context.client, context.recorder("persistentvolume-controller"))
        self._claims = context.informers.of(PERSISTENT_VOLUME_CLAIM)
        self._volumes = context.informers.of(PERSISTENT_VOLUME)
        self._classes = context.informers.of(STORAGE_CLASS)
        self._pods = context.informers.of(POD)
        clock = context.clock
        self._claim_loop = Controller(_NAME, self.reconcile_claim, workers=5, clock=clock)
        self._volume_loop = Controller(_NAME, self.reconcile_volume, workers=5, clock=clock)
        self._claims.add_handler(self._on_claim)
        self._volumes.add_handler(self._on_volume)
        self._classes.add_handler(self._on_class)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._claim_loop.run())
            group.create_task(self._volume_loop.run())

    async def reconcile_claim(self, key: ObjectKey) -> None:
        """Bring one claim a step further; a step's write calls for the next."""
        claim = self._claims.get(key)
        if claim is None:
            return
        index = self._volumes.by_index
        picture = Picture(
            lambda name: self._volumes.get(ObjectKey("", name)),
            volumes=[*index(BY_CLAIM, str(key)), *index(BY_CLAIM, "")],
            classes={c["metadata"]["name"]: c for c in self._classes.list()},
            pods=self._pods.by_index(BY_CLAIM, str(key)),
        )
        await self._executor.perform_all(plan_claim(claim, picture))

    async def reconcile_volume(self, key: ObjectKey) -> None:
        """Bring one volume a step further."""
        volume = self._volumes.get(key)
        if volume is None:
            return
        wanted = storage.claim_key(volume)
        claim = self._claims.get(wanted) if wanted else None
        actions = plan_volume(volume, claim, sure=False)
        if isinstance(actions, Unsure):
            assert wanted is not None
            actions = plan_volume(volume, await self._live(wanted), sure=True)
        assert not isinstance(actions, Unsure)
        await self._executor.perform_all(actions)

    async def _live(self, key: ObjectKey) -> Object | None:
        try:
            return await self._client.get(PERSISTENT_VOLUME_CLAIM, key.name, key.namespace)
        except NotFoundError:
            return None

    def _on_claim(self, old: Object | None, new: Object | None) -> None:
        claim = new or old or {}
        if new is not None:
            self._claim_loop.queue.add(key_of(new))
        for volume in self._volumes.by_index(BY_CLAIM, str(key_of(claim))):
            self._volume_loop.queue.add(key_of(volume))

    def _on_volume(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._volume_loop.queue.add(key_of(new))
        for volume in (old, new):
            if volume is not None and (key := storage.claim_key(volume)):
                self._claim_loop.queue.add(key)
        is_free = new is not None and not new["spec"].get("claimRef")
        if new is not None and is_free and storage.phase_of(new) == "Available":
            self._look_again(lambda claim: storage.class_of(claim) == storage.class_of(new))
        if new is not None and old is None:
            name = new["metadata"]["name"]
            self._look_again(lambda claim: claim["spec"].get("volumeName") == name)

    def _on_class(self, _old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        name, default = new["metadata"]["name"], storage.is_default_class(new)
        self._look_again(
            lambda claim: (
                storage.class_of(claim) == name or (default and storage.names_no_class(claim))
            )
        )

    def _look_again(self, concerns: Callable[[Object], bool]) -> None:
        """Let the claims that still have no volume try anew."""
        for claim in self._claims.list():
            if not storage.is_bound(claim) and concerns(claim):
                self._claim_loop.queue.add(key_of(claim))
