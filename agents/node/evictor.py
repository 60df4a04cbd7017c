"""Looks whether the node runs short whenever it is measured, and evicts one Pod at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from agents.node.cri_client import RuntimeCallError
from agents.node.eviction import (
    EVICTED,
    Pressure,
    Reading,
    Threshold,
    eviction_message,
    first_to_go,
    refusal_under,
)
from agents.node.node_object import Usage
from agents.node.plan import Waiting
from agents.node.pod_view import POD_UID
from kubraft.api.object import Object, key_of, uid_of
from kubraft.api.time import Clock
from kubraft.log import get_logger
from kubraft.pb.criv1 import api_pb2 as cri

# As upstream: who must go at once still gets a second.
_HARD_GRACE_S = 1.0

log = get_logger("node.eviction")


class Evictor:
    """`evict` gets a Pod's uid, what its status says, and its seconds to stop."""

    def __init__(
        self,
        pressure: Pressure,
        clock: Clock,
        stats: Callable[[], Awaitable[list[cri.PodSandboxStats]]],
        *,
        running: Callable[[], Iterable[Object]],
        evict: Callable[[str, Waiting, float], None],
        soft_grace_s: float,
    ) -> None:
        self._pressure = pressure
        self._clock = clock
        self._stats = stats
        self._running = running
        self._evict = evict
        self._soft_grace_s = soft_grace_s
        self._conditions: frozenset[str] = frozenset()

    def refusal(self, pod: Object) -> Waiting | None:
        """Why a node that runs short does not take `pod`."""
        text = refusal_under(self._conditions, pod)
        return Waiting(EVICTED, text) if text else None

    async def look(self, usage: Usage) -> frozenset[str]:
        """Judge a measurement; returns the node's conditions, and evicts who has to go."""
        now_s = self._clock.monotonic_s()
        self._conditions, due = self._pressure.look(usage.readings, now_s)
        if due is not None:
            await self._evict_one(*due)
        return self._conditions

    async def _evict_one(self, threshold: Threshold, reading: Reading) -> None:
        try:
            stats = await self._stats()
        except RuntimeCallError as error:
            log.warning("no usage of Pods to rank them by", cause=str(error))
            stats = []
        used = {
            each.attributes.labels.get(POD_UID, ""): {
                c.attributes.metadata.name: c.memory.working_set_bytes.value
                for c in each.linux.containers
            }
            for each in stats
        }
        totals = {uid: sum(containers.values()) for uid, containers in used.items()}
        processes = {
            each.attributes.labels.get(POD_UID, ""): each.linux.process.process_count.value
            for each in stats
        }
        pod = first_to_go(self._running(), threshold, totals, processes)
        if pod is None:
            return
        message = eviction_message(pod, threshold, reading, used.get(uid_of(pod), {}))
        log.warning("evicting a Pod", pod=str(key_of(pod)), signal=threshold.signal)
        grace_s = self._soft_grace_s if threshold.grace_s else _HARD_GRACE_S
        self._evict(uid_of(pod), Waiting(EVICTED, message), grace_s)
