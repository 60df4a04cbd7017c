"""Says on each Node how long its agent may believe what it has read, by the size of the cluster.

Source: Kubernetes, "well-known labels, annotations and taints": node.alpha.kubernetes.io/ttl.
"""

from __future__ import annotations

from typing import Final

from agents.controllers.context import Context
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import NODE
from kubraft.api.object import Object, ObjectKey, key_of
from kubraft.client.controller import Controller

ANNOTATION: Final = "node.alpha.kubernetes.io/ttl"
# From so many nodes on, up to so many, seconds; ranges overlap, so that a node more or less does
# not change it for all.
_STEPS: Final = (
    (0, 100, 0),
    (90, 500, 15),
    (450, 1000, 30),
    (900, 2000, 60),
    (1800, None, 300),
)


def step_of(count: int, step: int) -> int:
    """The step for `count` nodes, given the one before."""
    while (most := _STEPS[step][1]) is not None and count > most:
        step += 1
    while count < _STEPS[step][0]:
        step -= 1
    return step


class NodeTtl:
    """Counts the nodes, and writes to those that say otherwise."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._nodes = context.informers.of(NODE)
        self._step = 0
        self._controller: Controller[ObjectKey] = Controller(
            "ttl-controller", self.reconcile, workers=1, clock=context.clock
        )
        self._nodes.add_handler(self._on_node)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Bring one Node's annotation to the size of the cluster."""
        node = self._nodes.get(key)
        wanted = str(_STEPS[self._step][2])
        if node is None or (node["metadata"].get("annotations") or {}).get(ANNOTATION) == wanted:
            return None
        change = {"metadata": {"annotations": {ANNOTATION: wanted}}}
        try:
            await self._client.patch(NODE, key.name, change)
        except NotFoundError:
            return None
        return None

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        step = step_of(len(self._nodes.list()), self._step)
        if step != self._step:
            self._step = step
            for node in self._nodes.list():
                self._controller.queue.add(key_of(node))
        elif new is not None and (
            old is None or old["metadata"].get("annotations") != new["metadata"].get("annotations")
        ):
            self._controller.queue.add(key_of(new))
