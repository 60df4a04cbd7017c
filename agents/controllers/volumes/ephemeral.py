"""Makes the claims of Pods' ephemeral volumes; they go with their Pod, as its dependents.

Source: Kubernetes documentation, "Generic ephemeral volumes".
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from agents.controllers.context import Context
from agents.controllers.ownership import controller_reference
from kubraft.api import storage
from kubraft.api.errors import AlreadyExistsError, ApiError, ConflictError
from kubraft.api.gvk import PERSISTENT_VOLUME_CLAIM, POD
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of
from kubraft.api.pods import is_terminated
from kubraft.client.controller import Controller


def claim_of(pod: Object, volume: Mapping[str, Any], name: str) -> Object:
    """The claim of one of the Pod's ephemeral volumes."""
    template = volume["ephemeral"]["volumeClaimTemplate"]
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": pod["metadata"]["namespace"],
        "ownerReferences": [controller_reference(pod)],
    }
    for part in ("annotations", "labels"):
        if given := (template.get("metadata") or {}).get(part):
            metadata[part] = dict(given)
    return {
        "apiVersion": PERSISTENT_VOLUME_CLAIM.api_version,
        "kind": PERSISTENT_VOLUME_CLAIM.kind,
        "metadata": metadata,
        "spec": copy.deepcopy(template["spec"]),
    }


class EphemeralVolumes:
    """One key a Pod that has such volumes."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder("ephemeral_volume")
        self._pods = context.informers.of(POD)
        self._claims = context.informers.of(PERSISTENT_VOLUME_CLAIM)
        name = "ephemeral-volume-controller"
        self._controller = Controller(name, self.reconcile, clock=context.clock)
        self._pods.add_handler(self._on_pod)
        self._claims.add_handler(self._on_claim)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> None:
        """Make the claims that are not there.

        Raises:
            ConflictError: a claim of that name is not the Pod's; it is looked at again.
        """
        pod = self._pods.get(key)
        if pod is None or is_terminating(pod) or is_terminated(pod):
            return
        for volume, name, own in storage.claims_of_pod(pod):
            if own:
                await self._make(pod, volume, name)

    async def _make(self, pod: Object, volume: Mapping[str, Any], name: str) -> None:
        key = key_of(pod)
        known = self._claims.get(ObjectKey(key.namespace, name))
        if known is not None:
            if not storage.is_made_for(known, pod):
                raise ConflictError(
                    f'PVC "{key.namespace}/{name}" was not created for pod "{key}" (pod is not '
                    "owner)"
                )
            return
        try:
            await self._client.create(claim_of(pod, volume, name))
        except AlreadyExistsError:
            raise
        except ApiError as error:
            text = f"ephemeral volume {volume['name']}: create PVC {name}: {error.message}"
            self._recorder.event(pod, "Warning", "FailedCreate", text)
            raise

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None:
            self._add(new)

    def _on_claim(self, _old: Object | None, new: Object | None) -> None:
        if new is None and _old is not None:
            for owner in _old["metadata"].get("ownerReferences") or ():
                if owner.get("controller") and owner["kind"] == POD.kind:
                    key = ObjectKey(_old["metadata"]["namespace"], owner["name"])
                    self._controller.queue.add(key)

    def _add(self, pod: Object) -> None:
        if any(own for _volume, _name, own in storage.claims_of_pod(pod)):
            self._controller.queue.add(key_of(pod))
