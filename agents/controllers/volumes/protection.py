"""Keeps claims that Pods use, and volumes that claims have, from going when they are deleted.

Source: Kubernetes documentation, "Storage Object in Use Protection".
"""

from __future__ import annotations

from collections.abc import Iterable

from agents.controllers.context import Context
from agents.controllers.informers import BY_CLAIM
from kubraft.api import storage
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, POD
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of
from kubraft.api.pods import node_of
from kubraft.client.client import ApiClient
from kubraft.client.controller import Controller


def is_used(claim: Object, pods: Iterable[Object]) -> bool:
    """Whether a Pod that has a node uses the claim; one without gets no claim that is going."""
    name = claim["metadata"]["name"]
    return any(
        node_of(pod)
        and any(
            wanted == name and (not own or storage.is_made_for(claim, pod))
            for _volume, wanted, own in storage.claims_of_pod(pod)
        )
        for pod in pods
    )


def with_finalizer(obj: Object, name: str) -> Object | None:
    """The object with that finalizer; None where it has it."""
    finalizers = obj["metadata"].get("finalizers") or []
    if name in finalizers:
        return None
    return {**obj, "metadata": {**obj["metadata"], "finalizers": [*finalizers, name]}}


def without_finalizer(obj: Object, name: str) -> Object | None:
    """The object without that finalizer; None where it has none."""
    finalizers = obj["metadata"].get("finalizers") or []
    if name not in finalizers:
        return None
    kept = [each for each in finalizers if each != name]
    return {**obj, "metadata": {**obj["metadata"], "finalizers": kept}}


async def _write(client: ApiClient, obj: Object | None) -> None:
    if obj is not None:
        try:
            await client.update(obj)
        except NotFoundError:
            return


class ClaimProtection:
    """Takes the finalizer from a terminating claim once no Pod uses it."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._claims = context.informers.of(PERSISTENT_VOLUME_CLAIM)
        self._pods = context.informers.of(POD)
        name = "persistentvolumeclaim-protection-controller"
        self._controller = Controller(name, self.reconcile, clock=context.clock)
        self._claims.add_handler(self._on_claim)
        self._pods.add_handler(self._on_pod)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> None:
        """Add the finalizer, or take it away where nothing speaks against it."""
        claim = self._claims.get(key)
        if claim is None:
            return
        if not is_terminating(claim):
            await _write(self._client, with_finalizer(claim, storage.CLAIM_PROTECTION))
            return
        changed = without_finalizer(claim, storage.CLAIM_PROTECTION)
        if changed is None or is_used(claim, self._pods.by_index(BY_CLAIM, str(key))):
            return
        # The cache may lack a Pod that is on its way to its node.
        if not is_used(claim, (await self._client.list(POD, key.namespace)).items):
            await _write(self._client, changed)

    def _on_claim(self, _old: Object | None, new: Object | None) -> None:
        if new is not None:
            protected = storage.CLAIM_PROTECTION in (new["metadata"].get("finalizers") or ())
            if protected == is_terminating(new):
                self._controller.queue.add(key_of(new))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (old is None or node_of(old) == node_of(new)):
            return
        pod = old or new or {}
        for _volume, name, _own in storage.claims_of_pod(pod):
            self._controller.queue.add(ObjectKey(pod["metadata"].get("namespace", ""), name))


class VolumeProtection:
    """Takes the finalizer from a terminating volume once it is bound to no claim."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._volumes = context.informers.of(PERSISTENT_VOLUME)
        name = "persistentvolume-protection-controller"
        self._controller = Controller(name, self.reconcile, clock=context.clock)
        self._volumes.add_handler(self._on_volume)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> None:
        """Add the finalizer, or take it away where nothing speaks against it."""
        volume = self._volumes.get(key)
        if volume is None:
            return
        if not is_terminating(volume):
            await _write(self._client, with_finalizer(volume, storage.VOLUME_PROTECTION))
        elif storage.phase_of(volume) != "Bound":
            await _write(self._client, without_finalizer(volume, storage.VOLUME_PROTECTION))

    def _on_volume(self, _old: Object | None, new: Object | None) -> None:
        if new is not None:
            protected = storage.VOLUME_PROTECTION in (new["metadata"].get("finalizers") or ())
            if protected == is_terminating(new):
                self._controller.queue.add(key_of(new))
