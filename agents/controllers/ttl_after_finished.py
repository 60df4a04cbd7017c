"""Deletes Jobs some time after they finished, with their Pods.

Source: Kubernetes documentation, "TTL-after-finished Controller".
"""

from __future__ import annotations

from datetime import datetime, timedelta

from agents.controllers.context import Context
from agents.controllers.job.reading import finish_moment
from kubraft.api.errors import NotFoundError
from kubraft.api.gvk import JOB
from kubraft.api.object import Object, ObjectKey, is_terminating, key_of, uid_of
from kubraft.client.controller import Controller


def left_s(job: Object, now: datetime) -> float | None:
    """Seconds until the Job may go, 0 or less for now; None where it stays."""
    ttl_s, finished = job["spec"].get("ttlSecondsAfterFinished"), finish_moment(job)
    if ttl_s is None or finished is None or is_terminating(job):
        return None
    return (finished + timedelta(seconds=ttl_s) - now).total_seconds()


class TtlAfterFinishedController:
    """Looks at each finished Job when its time has come."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._jobs = context.informers.of(JOB)
        self._controller = Controller(
            "ttl-after-finished-controller",
            self.reconcile,
            workers=context.options.concurrent_ttl_after_finished_syncs,
            clock=context.clock,
        )
        self._jobs.add_handler(self._on_job)

    async def run(self) -> None:
        await self._controller.run()

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Delete the Job if its time has passed; returns after how long to look again."""
        job = self._jobs.get(key)
        wait_s = left_s(job, self._clock.now()) if job else None
        if wait_s is None or wait_s > 0:
            return wait_s
        try:
            # The time to live may have been changed since.
            live = await self._client.get(JOB, key.name, key.namespace)
            wait_s = left_s(live, self._clock.now())
            if wait_s is None or wait_s > 0:
                return wait_s
            version = live["metadata"]["resourceVersion"]
            await self._client.delete(
                JOB,
                key.name,
                key.namespace,
                propagation="Foreground",
                uid=uid_of(live),
                resource_version=version,
            )
        except NotFoundError:
            return None
        return None

    def _on_job(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and left_s(new, self._clock.now()) is not None:
            self._controller.queue.add(key_of(new))
