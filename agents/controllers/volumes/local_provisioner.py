"""The provisioner of local directories: makes, grows and deletes their volumes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from agents.controllers.action import Create
from agents.controllers.context import Context
from agents.controllers.executor import Executor, create_if_absent
from agents.controllers.volumes.provision import (
    abandoned,
    is_made_here,
    is_ours,
    local_class,
    plan_growth,
    plan_provision,
    plan_reclaim,
    volume_name,
)
from kubraft.api import storage
from kubraft.api.errors import (
    AlreadyExistsError,
    NotFoundError,
    ServiceUnavailableError,
    TimeoutError_,
)
from kubraft.api.gvk import NODE, PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, STORAGE_CLASS
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, labels_of
from kubraft.client.controller import Controller

_NAME = "local-volume-provisioner-controller"
_RETRY_S = 1.0


class LocalProvisioner:
    """Keys without a namespace are volumes, the others claims."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._executor = Executor(context.client, context.recorder(storage.LOCAL_PROVISIONER))
        self._claims = context.informers.of(PERSISTENT_VOLUME_CLAIM)
        self._volumes = context.informers.of(PERSISTENT_VOLUME)
        self._classes = context.informers.of(STORAGE_CLASS)
        self._nodes = context.informers.of(NODE)
        self._clock = context.clock
        self._class_name = context.options.local_storage_class
        self._controller = Controller(_NAME, self.reconcile, workers=4, clock=context.clock)
        self._claims.add_handler(self._on_claim)
        self._volumes.add_handler(self._on_volume)
        self._nodes.add_handler(self._on_node)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._controller.run())
            if self._class_name:
                group.create_task(self._offer(self._class_name))

    async def _offer(self, name: str) -> None:
        """Make the class where there is none of that name; whoever changes it has the last word."""
        while True:
            try:
                await create_if_absent(self._client, local_class(name))
            except (ServiceUnavailableError, TimeoutError_):
                await self._clock.sleep(_RETRY_S)
            else:
                return

    async def reconcile(self, key: ObjectKey) -> None:
        """See to one claim or volume."""
        if key.namespace:
            await self._reconcile_claim(key)
        else:
            await self._reconcile_volume(key)

    async def _reconcile_claim(self, key: ObjectKey) -> None:
        claim = self._claims.get(key)
        if claim is None:
            return
        storage_class = self._classes.get(ObjectKey("", storage.class_of(claim)))
        if storage.is_bound(claim):
            volume = self._volumes.get(ObjectKey("", claim["spec"]["volumeName"]))
            if volume is not None and is_made_here(volume) and not is_terminating(claim):
                await self._executor.perform_all(plan_growth(claim, volume, storage_class))
        elif is_ours(claim) and self._volumes.get(ObjectKey("", volume_name(claim))) is None:
            for action in plan_provision(claim, storage_class, self._find_node):
                if isinstance(action, Create):
                    with suppress(AlreadyExistsError):  # made before, its answer was lost
                        await self._executor.perform(action)
                else:
                    await self._executor.perform(action)

    async def _reconcile_volume(self, key: ObjectKey) -> None:
        volume = self._volumes.get(key)
        if volume is None or not is_made_here(volume):
            return
        await self._executor.perform_all(plan_reclaim(volume))
        finalizers = volume["metadata"].get("finalizers") or ()
        if not is_terminating(volume) or storage.LOCAL_FINALIZER not in finalizers:
            return
        if storage.phase_of(volume) != "Bound" and await self._is_gone(_node_of(volume)):
            await self._client.update(abandoned(volume))

    async def _is_gone(self, node: str) -> bool:
        if self._find_node(node) is not None:
            return False
        try:
            await self._client.get(NODE, node)
        except NotFoundError:
            return True
        return False

    def _find_node(self, name: str) -> Object | None:
        return self._nodes.get(ObjectKey("", name))

    def _on_claim(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and (storage.is_bound(new) or is_ours(new)):
            self._controller.queue.add(key_of(new))

    def _on_volume(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and is_made_here(new):
            self._controller.queue.add(key_of(new))
            claim = storage.claim_key(new)
            if claim is not None and storage.phase_of(new) == "Bound":
                self._controller.queue.add(claim)  # it may have grown

    def _on_node(self, _old: Object | None, new: Object | None) -> None:
        if new is not None:
            return
        for volume in self._volumes.list():
            if is_terminating(volume) and is_made_here(volume):
                self._controller.queue.add(key_of(volume))


def _node_of(volume: Object) -> str:
    return labels_of(volume).get(storage.LOCAL_NODE, "")
