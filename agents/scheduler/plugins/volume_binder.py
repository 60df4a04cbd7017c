"""Claims get their volumes with the Pod's node.

Source: kube-scheduler's VolumeBinding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from agents.scheduler.cluster import Snapshot
from agents.scheduler.framework import Check, Rejection
from agents.scheduler.handle import Handle
from agents.scheduler.node_info import NodeInfo
from agents.scheduler.plugins.volumes import OfClaims, has_claims, store_of
from agents.scheduler.pod_info import PodInfo
from agents.scheduler.volume_binding import (
    Bindings,
    Promise,
    Promised,
    UnusableError,
    claim_placed,
    claims_of,
    find_bindings,
    progress,
    volume_given,
)
from kubraft.api import storage
from kubraft.api.gvk import PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM
from kubraft.api.object import Object, annotations_of
from kubraft.api.time import within

# How long a Pod waits for its volumes before it is tried again. Source: bindTimeoutSeconds.
BIND_TIMEOUT_S = 600.0


class VolumeBinding(OfClaims):
    """Keeps Pods off nodes where their claims can have no volume; binds claims with the node."""

    name = "VolumeBinding"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(store_of(handle))
        self._timeout_s = float(args.get("bindTimeoutSeconds", BIND_TIMEOUT_S))
        self._client = handle.client
        self._clock = handle.clock
        self._promised = Promised()
        # What the nodes that passed give the Pod that is being decided on; one of them is chosen.
        self._found: tuple[str, dict[str, tuple[Bindings, dict[str, str]]]] = ("", {})
        self._changed = asyncio.Event()
        for kind in (PERSISTENT_VOLUME_CLAIM, PERSISTENT_VOLUME):
            handle.informer(kind).add_handler(self._on_change)

    def pre_filter(self, pod: PodInfo, snapshot: Snapshot) -> Check | Rejection | None:
        if not has_claims(pod):
            return None
        try:
            claims = claims_of(pod, self._store)
        except UnusableError as error:
            return Rejection((str(error),), resolvable=False)
        passed: dict[str, tuple[Bindings, dict[str, str]]] = {}
        self._found = (pod.uid, passed)

        def check(node: NodeInfo) -> Rejection | None:
            at = (node.name, node.labels)
            found = find_bindings(claims, at, self._store, self._promised)
            if isinstance(found, Bindings):
                passed[node.name] = found, node.labels
                return None
            return Rejection(tuple(each.value for each in found), resolvable=False)

        return check

    def reserve(self, pod: PodInfo, node_name: str) -> str | None:
        uid, passed = self._found
        if has_claims(pod):
            assert uid == pod.uid
            self._promised.bindings[uid] = Promise(node_name, *passed[node_name])
        return None

    def unreserve(self, pod: PodInfo, node_name: str) -> None:
        if self._promised.bindings.pop(pod.uid, None):
            self._wake()  # who shares its claims is not to wait for them

    async def pre_bind(self, pod: PodInfo, node_name: str) -> str | None:
        promise = self._promised.bindings.get(pod.uid)
        if promise is None:
            return None
        await self._write(promise)
        try:
            await within(self._clock, self._timeout_s, self._bound(promise))
        except TimeoutError:
            return "binding volumes: context deadline exceeded"
        except UnusableError as error:
            return f"binding volumes: {error}"
        self._promised.bindings.pop(pod.uid, None)  # the caches show it now
        return None

    async def _write(self, promise: Promise) -> None:
        """Give away the volumes that are there, and ask for the others.

        Raises:
            ApiError: one has changed since; what was written stays good for the same Pod.
        """
        for volume, claim in promise.bindings.volumes:
            await self._client.update(volume_given(volume, claim))
        for claim in promise.bindings.provisioned:
            if annotations_of(claim).get(storage.SELECTED_NODE) != promise.node:
                await self._client.update(claim_placed(claim, promise.node))

    async def _bound(self, promise: Promise) -> None:
        """Return once all claims have their volumes.

        Raises:
            UnusableError: one will not get it on this node.
        """
        while True:
            changed = self._changed
            done, why = progress(promise, self._store, self._promised)
            if why:
                raise UnusableError(why)
            if done:
                return
            await changed.wait()

    def _on_change(self, _old: Object | None, _new: Object | None) -> None:
        self._wake()

    def _wake(self) -> None:
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()
