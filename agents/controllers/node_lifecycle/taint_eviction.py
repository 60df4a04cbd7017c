"""Drives Pods off nodes with NoExecute taints, when their tolerations run out.

Source: Kubernetes documentation, "Taints and Tolerations, Taint based Evictions".
"""

from __future__ import annotations

from datetime import datetime

from agents.controllers.context import Context
from agents.controllers.informers import BY_NODE
from agents.controllers.node_lifecycle.eviction import evict_at, evicting_taints
from kubraft.api.conditions import conditions_of, find_condition, with_condition
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import NODE, POD
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, uid_of
from kubraft.api.pods import is_terminated, node_of
from kubraft.client.controller import Controller

_WORKERS = 8


class TaintEvictionController:
    """Reconciles one Pod at a time per worker, by key."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("taint-eviction-controller")
        self._pods = context.informers.of(POD)
        self._nodes = context.informers.of(NODE)
        # Since when a node has had NoExecute taints, for those that do not say so themselves.
        self._tainted_since: dict[str, datetime] = {}
        self._controller = Controller(
            "taint-eviction-controller", self.reconcile, workers=_WORKERS, clock=context.clock
        )
        self._pods.add_handler(self._on_pod)
        self._nodes.add_handler(self._on_node)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Delete the Pod if its time on the node is over, or come back when it is."""
        pod = self._pods.get(key)
        if pod is None or is_terminating(pod) or is_terminated(pod):
            return None
        node = self._nodes.get(ObjectKey("", node_of(pod)))
        taints = evicting_taints(node) if node is not None else []
        now = self._clock.now()
        moment = evict_at(pod, taints, self._tainted_since.get(node_of(pod), now))
        if moment is None:
            return None
        if moment > now:
            return (moment - now).total_seconds()
        try:
            await self._evict(pod)
        except NotFoundError:
            return None
        return None

    async def _evict(self, pod: Object) -> None:
        key = key_of(pod)
        if find_condition(conditions_of(pod), "DisruptionTarget") is None:
            fresh = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
            }
            conditions = with_condition(conditions_of(pod), fresh, self._clock.now())
            status = {**(pod.get("status") or {}), "conditions": conditions}
            await self._client.update({**pod, "status": status}, "status")
        await self._client.delete(POD, key.name, key.namespace, uid=uid_of(pod))
        text = f"Marking for deletion Pod {key}"
        self._recorder.event(pod, "Normal", "TaintManagerEviction", text)

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        if new is None or is_terminating(new) or not node_of(new):
            return
        if old is None or node_of(old) != node_of(new) or old["spec"] != new["spec"]:
            node = self._nodes.get(ObjectKey("", node_of(new)))
            if node is not None and evicting_taints(node):
                self._controller.queue.add(key_of(new))

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        name = key_of(new or old or {}).name
        after = evicting_taints(new) if new is not None else []
        if not after:
            self._tainted_since.pop(name, None)
            return
        self._tainted_since.setdefault(name, self._clock.now())
        if old is None or evicting_taints(old) != after:
            for pod in self._pods.by_index(BY_NODE, name):
                self._controller.queue.add(key_of(pod))
