"""Evicts the Pods that have to make room for another one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from agents.scheduler.pod_info import PodInfo
from kubraft.api.conditions import conditions_of, with_condition
from kubraft.api.errors import ConflictError, NotFoundError
from kubraft.api.gvk import POD
from kubraft.api.object import Object, ObjectKey, is_terminating, uid_of
from kubraft.api.time import Clock
from kubraft.client.client import ApiClient
from kubraft.client.controller import Controller
from kubraft.client.events import EventRecorder


class _Eviction(NamedTuple):
    victim: PodInfo
    preemptor: PodInfo
    node_name: str


class Evictor:
    """Deletes victims from a queue, with their own grace period; a failure is repeated."""

    def __init__(
        self, client: ApiClient, recorders: Mapping[str, EventRecorder], clock: Clock
    ) -> None:
        self._client = client
        self._recorders = recorders
        self._clock = clock
        self._wanted: dict[ObjectKey, _Eviction] = {}
        self._worker: Controller[ObjectKey] = Controller(
            "scheduler.evictor", self._evict, workers=4, clock=clock
        )

    async def run(self) -> None:
        """Evict until cancelled."""
        await self._worker.run()

    def evict(self, victim: PodInfo, preemptor: PodInfo, node_name: str) -> None:
        """Have `victim` go from the node, for the sake of `preemptor`."""
        self._wanted[victim.key] = _Eviction(victim, preemptor, node_name)
        self._worker.queue.add(victim.key)

    async def _evict(self, key: ObjectKey) -> None:
        wanted = self._wanted.get(key)
        if wanted is None:
            return
        with suppress(NotFoundError):
            stored = await self._client.get(POD, key.name, key.namespace)
            if uid_of(stored) == wanted.victim.uid and not is_terminating(stored):
                await self._say_why(stored, wanted.preemptor)
                # Another Pod of that name is not meant.
                with suppress(ConflictError):
                    await self._client.delete(POD, key.name, key.namespace, uid=wanted.victim.uid)
                    self._recorders[wanted.preemptor.scheduler_name].event(
                        stored,
                        "Normal",
                        "Preempted",
                        f"Preempted by pod {wanted.preemptor.uid} on node {wanted.node_name}",
                    )
        if self._wanted.get(key) is wanted:
            del self._wanted[key]

    async def _say_why(self, victim: Object, preemptor: PodInfo) -> None:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": (
                f"{preemptor.scheduler_name}: preempting to accommodate a higher priority pod"
            ),
        }
        key = ObjectKey(victim["metadata"]["namespace"], victim["metadata"]["name"])
        conditions = with_condition(conditions_of(victim), condition, self._clock.now())
        await self._client.patch(
            POD,
            key.name,
            {"status": {"conditions": conditions}},
            key.namespace,
            "status",
            resource_version=victim["metadata"]["resourceVersion"],
        )
