"""Removes the Pods that nobody else will, by a look at all of them now and then."""

from __future__ import annotations

from agents.controllers.context import Context
from agents.controllers.pod_gc.plan import Cause, failed, next_check_s, plan
from kubraft.api.errors import ApiError, NotFoundError
from kubraft.api.gvk import NODE, POD
from kubraft.api.object import Object, key_of, uid_of
from kubraft.api.pods import node_of
from kubraft.log import get_logger

# Source: upstream's gcCheckPeriod and quarantineTime.
_PERIOD_S = 20.0
_QUARANTINE_S = 40.0
# So that a due moment a millisecond away makes no busy loop.
_PERIOD_S_MIN = 0.5


class PodGarbageCollector:
    """One loop; it looks earlier when a Pod of an unreachable node becomes due."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._rules = context.options.pod_gc_rules
        self._pods = context.informers.of(POD)
        self._nodes = context.informers.of(NODE)
        self._missing_since_s: dict[str, float] = {}
        self._log = get_logger("pod-garbage-collector-controller")

    async def run(self) -> None:
        while True:
            await self.collect()
            due_s = next_check_s(
                self._pods.list(), self._nodes_by_name(), self._rules, self._clock.now()
            )
            wait_s = _PERIOD_S if due_s is None else min(due_s, _PERIOD_S)
            await self._clock.sleep(max(wait_s, _PERIOD_S_MIN))

    async def collect(self) -> None:
        """Look at all Pods once; what cannot be removed now is left for the next look."""
        found = plan(self._pods.list(), self._nodes_by_name(), self._rules, self._clock.now())
        missing = {node_of(pod) for pod, cause in found if cause is Cause.ORPHANED}
        lost = {name for name in missing if await self._is_gone(name)}
        self._missing_since_s = {n: s for n, s in self._missing_since_s.items() if n in missing}
        for pod, cause in found:
            if cause is Cause.ORPHANED and node_of(pod) not in lost:
                continue
            try:
                await self._remove(pod, cause)
            except NotFoundError:
                continue
            except ApiError as error:
                self._log.warning("not_removed", pod=str(key_of(pod)), cause=error.message)

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

    async def _remove(self, pod: Object, cause: Cause) -> None:
        key = key_of(pod)
        self._log.info("removing", pod=str(key), reason=cause.value)
        if cause in (Cause.ORPHANED, Cause.OUT_OF_SERVICE, Cause.UNREACHABLE) and (
            marked := failed(pod, self._clock.now())
        ):
            await self._client.update(marked, "status")
        await self._client.delete(POD, key.name, key.namespace, grace_period_s=0, uid=uid_of(pod))

    def _nodes_by_name(self) -> dict[str, Object]:
        return {key_of(node).name: node for node in self._nodes.list()}
