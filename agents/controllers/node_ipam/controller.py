"""Gives each Node that has none a range for its Pods, in `spec.podCIDRs`; no two Nodes the same.

What is given is known again from the Nodes at each start, so nothing is lost with the process. A
range is held from before its write is sent until the Node is gone, whether or not an answer came.

Source: kube-controller-manager, node-ipam-controller (range allocator: Events and their words).
"""

from __future__ import annotations

from typing import Final

from agents.controllers.context import Context
from agents.controllers.node_ipam.pools import Pools
from kubraft.api.errors import NotFoundError, ServiceUnavailableError, TimeoutError_
from kubraft.api.gvk import NODE
from kubraft.api.networks import pod_cidrs
from kubraft.api.object import Object, ObjectKey, key_of, uid_of
from kubraft.client.controller import Controller

_NONE_FREE_S: Final = 60.0  # until it is said again; a range that gets free is given at once
_RETRY_S: Final = 1.0


class NodeIpamController:
    """Reconciles one Node at a time."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._nodes = context.informers.of(NODE)
        self._recorder = context.recorder("cidrAllocator")
        self._pools = Pools(context.options.node_pools, context.options.service_networks)
        self._waiting: set[ObjectKey] = set()
        self._controller: Controller[ObjectKey] = Controller(
            "node-ipam-controller", self.reconcile, workers=5, clock=context.clock
        )
        self._nodes.add_handler(self._on_node)

    async def run(self) -> None:
        """Read what is given already, past any cache, then give."""
        while True:
            try:
                # The one before us may have given ranges that no cache shows yet.
                for node in (await self._client.list(NODE)).items:
                    self._learn(node)
            except (ServiceUnavailableError, TimeoutError_):
                await self._clock.sleep(_RETRY_S)
            else:
                break
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Give the Node its range, if it has none."""
        node = self._nodes.get(key)
        self._waiting.discard(key)
        if node is None or pod_cidrs(node):
            return None
        uid = uid_of(node)
        cidrs = self._pools.held_by(uid) or self._pools.give(uid)
        if not cidrs:
            self._waiting.add(key)
            message = f"Node {key.name} status is now: CIDRNotAvailable"
            self._recorder.event(node, "Normal", "CIDRNotAvailable", message)
            return _NONE_FREE_S
        try:
            await self._client.patch(
                NODE,
                key.name,
                {"spec": {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)}},
                resource_version=node["metadata"]["resourceVersion"],
            )
        except NotFoundError:
            self._release(uid)
        return None

    def _learn(self, node: Object) -> None:
        if cidrs := pod_cidrs(node):
            self._pools.hold(uid_of(node), cidrs)

    def _release(self, uid: str) -> None:
        if self._pools.release(uid):
            for key in self._waiting:
                self._controller.queue.add(key)

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if old is not None and (new is None or uid_of(new) != uid_of(old)):
            self._release(uid_of(old))
        if new is None:
            return
        self._learn(new)
        if not pod_cidrs(new) and (old is None or uid_of(old) != uid_of(new)):
            self._controller.queue.add(key_of(new))
