"""Removes the Pods that nobody else will, by a look at all of them now and then."""

from __future__ import annotations

import asyncio

from agents.controllers.context import Context
from agents.controllers.pod_gc.plan import Cause, failed, next_check_s, plan, telling_taints
from kubraft.api.errors import ApiError, NotFoundError
from kubraft.api.gvk import NODE, POD
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, uid_of
from kubraft.api.pods import node_of
from kubraft.log import get_logger

# Source: upstream's gcCheckPeriod and quarantineTime.
_PERIOD_S = 20.0
_QUARANTINE_S = 40.0
# The least time between two looks, however much happens.
_PERIOD_S_MIN = 0.5
_REMOVED_AT_ONCE = 20


class PodGarbageCollector:
    """One loop; it looks earlier when a Pod of a lost node ends, and when one becomes due."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._rules = context.options.pod_gc_rules
        self._pods = context.informers.of(POD)
        self._nodes = context.informers.of(NODE)
        self._missing_since_s: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._log = get_logger("pod-garbage-collector-controller")
        self._pods.add_handler(self._on_pod)
        self._nodes.add_handler(self._on_node)

    async def run(self) -> None:
        while True:
            await self.collect()
            due_s = next_check_s(
                self._pods.list(), self._nodes_by_name(), self._rules, self._clock.now()
            )
            await self._clock.sleep(_PERIOD_S_MIN)
            await self._wait(_PERIOD_S if due_s is None else min(due_s, _PERIOD_S))

    async def _wait(self, delay_s: float) -> None:
        """Return after `delay_s` seconds, or earlier when there is something to look at."""
        timer = asyncio.ensure_future(self._clock.sleep(delay_s))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()
        self._wake.clear()

    async def collect(self) -> None:
        """Look at all Pods once; what cannot be removed now is left for the next look."""
        found = plan(self._pods.list(), self._nodes_by_name(), self._rules, self._clock.now())
        missing = {node_of(pod) for pod, cause in found if cause is Cause.ORPHANED}
        lost = {name for name in missing if await self._is_gone(name)}
        self._missing_since_s = {n: s for n, s in self._missing_since_s.items() if n in missing}
        due = [(p, c) for p, c in found if c is not Cause.ORPHANED or node_of(p) in lost]
        for start in range(0, len(due), _REMOVED_AT_ONCE):
            batch = due[start : start + _REMOVED_AT_ONCE]
            await asyncio.gather(*(self._try_remove(pod, cause) for pod, cause in batch))

    async def _is_gone(self, node: str) -> bool:
        """Whether a node that the cache lacks has been missing for a while and is gone for sure."""
        now_s = self._clock.monotonic_s()
        since_s = self._missing_since_s.setdefault(node, now_s)
        if now_s - since_s < _QUARANTINE_S:
            return False
        try:
            await self._client.get(NODE, node)
        except NotFoundError:
            return True
        except ApiError as error:
            self._log.warning("node_not_checked", node=node, cause=error.message)
        return False

    async def _try_remove(self, pod: Object, cause: Cause) -> None:
        try:
            await self._remove(pod, cause)
        except NotFoundError:
            return
        except ApiError as error:
            self._log.warning("not_removed", pod=str(key_of(pod)), cause=error.message)

    async def _remove(self, pod: Object, cause: Cause) -> None:
        key = key_of(pod)
        self._log.info("removing", pod=str(key), reason=cause.value)
        if marked := failed(pod, cause, self._clock.now()):
            await self._client.update(marked, "status")
        await self._client.delete(POD, key.name, key.namespace, grace_period_s=0, uid=uid_of(pod))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        if new is None or not is_terminating(new) or (old is not None and is_terminating(old)):
            return
        node = self._nodes.get(ObjectKey("", node_of(new)))
        if node is None or telling_taints(node):
            self._wake.set()

    def _on_node(self, old: Object | None, new: Object | None) -> None:
        if new is None or (old is not None and telling_taints(old) != telling_taints(new)):
            self._wake.set()

    def _nodes_by_name(self) -> dict[str, Object]:
        return {key_of(node).name: node for node in self._nodes.list()}
