"""Runs the plans of Jobs: creates and ends Pods, counts those that ended, finishes the Job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from agents.controllers.adoption import settle
from agents.controllers.context import Context
from agents.controllers.informers import BY_CONTROLLER, ORPHANS
from agents.controllers.job.backoff import Record
from agents.controllers.job.picture import Picture, look
from agents.controllers.job.plan import Plan, plan
from agents.controllers.job.pod import job_pod, pod_prefix, tracked, untracked
from agents.controllers.job.reading import (
    is_finished,
    is_ours,
    is_tracked,
    true_condition,
)
from agents.controllers.job.report import Counts, report
from agents.controllers.job.tracking import conclude, track
from agents.controllers.job.verdict import completed, deadline_s, verdict
from agents.controllers.own_writes import OwnWrites
from agents.controllers.ownership import Claim, claim
from agents.controllers.pod_control import PodControl, Wanted
from agents.controllers.status import same_status
from kubraft.api.conditions import Condition
from kubraft.api.errors import ApiError, ConflictError, NotFoundError
from kubraft.api.gvk import JOB, POD
from kubraft.api.labels import selector_from_object
from kubraft.api.object import (
    Object,
    ObjectKey,
    controller_of,
    is_terminating,
    key_of,
    labels_of,
    uid_of,
)
from kubraft.api.pods import is_pod_ready
from kubraft.client.controller import Controller

# The cache shows own writes within milliseconds; this is for the case that an event is lost.
_CACHE_LAG_S = 1.0


class JobController:
    """Reconciles one Job at a time per worker, by key."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder("job-controller")
        self._jobs = context.informers.of(JOB)
        self._pods = context.informers.of(POD)
        self._control = PodControl(context, self._recorder, JOB)
        self._written = OwnWrites()
        self._untracked: dict[ObjectKey, set[str]] = {}  # uids whose finalizers are removed
        self._records: dict[ObjectKey, Record] = {}
        workers = context.options.concurrent_job_syncs
        self._controller = Controller(
            "job-controller", self.reconcile, workers=workers, clock=context.clock
        )
        # Tracked Pods whose Job is gone or finished.
        self._orphans = Controller(
            "job-orphan-pods", self.release_orphan, workers=1, clock=context.clock
        )
        self._jobs.add_handler(self._on_job)
        self._pods.add_handler(self._on_pod)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._controller.run())
            group.create_task(self._orphans.run())

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take one step; returns after how many seconds to look again, if no event comes."""
        job = self._jobs.get(key)
        if job is None or not is_ours(job) or is_finished(job):
            return None
        if not self._written.seen(key, self._jobs.get, self._clock.monotonic_s()):
            return _CACHE_LAG_S
        pods = await self._owned(job)
        settled = await self._control.settled(job)
        picture = look(job, pods, self._untracked.get(key, frozenset()))
        now = self._clock.now()
        record = self._records.get(key, Record()).after(picture.new_succeeded, picture.new_failed)
        ending = verdict(picture, now)
        managed = ending is None and settled and not is_terminating(job)
        wait_s: float | None = None
        error: ApiError | None = None
        counts = Counts(len(picture.active), picture.ready, picture.terminating)
        if ending is not None:
            counts, error = await self._end_all(picture)
        elif managed:
            decided = plan(picture, record, now)
            wait_s = decided.wait_s
            counts, error = await self._carry_out(picture, decided)
        ending = ending or completed(picture, counts.active, now)
        status, event = report(picture, counts, now, managed=managed and ending is None)
        # Pods that the cache does not show yet may still run, uncounted.
        sure = settled and not (ending and counts.active)
        ending = ending if error is None else None
        await self._count(picture, status, ending, sure=sure)
        self._records[key] = record
        if event:
            self._recorder.event(job, "Normal", *event)
        if error is not None:
            raise error
        left_s = deadline_s({**job, "status": status}, now)
        return min((s for s in (wait_s, left_s) if s is not None and s > 0), default=None)

    async def _owned(self, job: Object) -> list[Object]:
        """The Job's Pods, adopted and released as its selector says."""
        key = key_of(job)
        selector = selector_from_object(job["spec"].get("selector"))
        candidates = self._pods.by_index(BY_CONTROLLER, uid_of(job))
        candidates += self._pods.by_index(ORPHANS, key.namespace)
        found = claim(job, selector, candidates)
        adopt, release = map(tracked, found.adopt), map(untracked, found.release)
        return await settle(self._client, job, Claim(found.owned, tuple(adopt), tuple(release)))

    async def _carry_out(self, picture: Picture, decided: Plan) -> tuple[Counts, ApiError | None]:
        job = picture.job
        counts = Counts(len(picture.active), picture.ready, picture.terminating)
        if decided.delete:
            # They were not lost by failure: without the finalizer nobody counts them.
            await self._release(job, filter(is_tracked, decided.delete))
            return await self._delete(picture, decided.delete)
        wanted = [self._wanted(picture, index) for index in decided.create]
        outcome = await self._control.create(job, wanted)
        return Counts(counts.active + outcome.done, counts.ready, counts.terminating), outcome.error

    def _wanted(self, picture: Picture, index: int | None) -> Wanted:
        job = picture.job
        failed = None if index is None else picture.delayed.get(index)

        def build(name: str) -> Object:
            return job_pod(job, name, index, failed)

        return Wanted(pod_prefix(job, index), build, "" if index is None else str(index))

    async def _end_all(self, picture: Picture) -> tuple[Counts, ApiError | None]:
        """Delete what is active: the Job ends."""
        return await self._delete(picture, picture.active)

    async def _delete(
        self, picture: Picture, victims: Sequence[Object]
    ) -> tuple[Counts, ApiError | None]:
        outcome = await self._control.delete(picture.job, victims)
        done = outcome.done
        ready = picture.ready - (sum(map(is_pod_ready, victims)) if outcome.error is None else 0)
        active = len(picture.active) - done
        return Counts(active, ready, picture.terminating + done), outcome.error

    async def _count(
        self, picture: Picture, status: dict[str, Any], ending: Condition | None, *, sure: bool
    ) -> None:
        """Write the counts, let the counted Pods go, and finish the Job where it may."""
        found = track(picture, status, ending)
        job = await self._write(picture.job, found.status)
        gone = await self._release(job, found.release)
        held = {uid_of(pod) for pod in picture.tracked} - gone
        sure = sure and found.all_counted
        last = conclude(found.status, held, ending if sure else None, self._clock.now())
        stored = await self._write(job, last)
        if is_finished(stored):
            self._say_finished(stored)

    async def _write(self, job: Object, status: dict[str, Any]) -> Object:
        if same_status(job.get("status"), status):
            return job
        answer = await self._client.update({**job, "status": status}, "status")
        now_s = self._clock.monotonic_s()
        self._written.note(key_of(job), answer, created=False, now_s=now_s)
        return answer

    def _say_finished(self, job: Object) -> None:
        if true_condition(job, "Complete"):
            self._recorder.event(job, "Normal", "Completed", "Job completed")
        elif failed := true_condition(job, "Failed"):
            self._recorder.event(job, "Warning", failed["reason"], failed["message"])

    async def _release(self, job: Object, pods: Iterable[Object]) -> set[str]:
        """Remove the finalizer of `pods`; returns the uids of all that have it no longer.

        Raises:
            ApiError: of the first that could not be changed, when all have been tried.
        """
        pods = list(pods)
        results = await asyncio.gather(*map(self._release_one, pods), return_exceptions=True)
        gone = {uid_of(p) for p, result in zip(pods, results, strict=True) if result is None}
        if gone:
            self._untracked.setdefault(key_of(job), set()).update(gone)
        if failed := [result for result in results if result is not None]:
            raise failed[0]
        return gone

    async def _release_one(self, pod: Object) -> None:
        key, fresh = key_of(pod), untracked(pod)
        # Where others hold the Pod too, theirs must not be lost: at exactly this version, then.
        others = fresh["metadata"]["finalizers"]
        version = pod["metadata"]["resourceVersion"] if others else ""
        merge = {"metadata": {"uid": uid_of(pod), "finalizers": others}}
        try:
            await self._client.patch(POD, key.name, merge, key.namespace, resource_version=version)
        except NotFoundError:
            return
        except ConflictError:
            live = await self._live(pod)
            if live is not None and is_tracked(live):
                raise

    async def _live(self, pod: Object) -> Object | None:
        key = key_of(pod)
        try:
            live = await self._client.get(POD, key.name, key.namespace)
        except NotFoundError:
            return None
        return live if uid_of(live) == uid_of(pod) else None

    async def release_orphan(self, key: ObjectKey) -> float | None:
        """Let a Pod go whose Job will not count it: it is gone, finished, or not the owner."""
        pod = self._pods.get(key)
        if pod is None or not is_tracked(pod):
            return None
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == JOB.kind:
            try:
                job = await self._client.get(JOB, owner["name"], key.namespace)
            except NotFoundError:
                job = None
            if job is not None and uid_of(job) == owner["uid"] and not is_finished(job):
                self._controller.queue.add(key_of(job))
                return None
        await self._release_one(pod)
        return None

    def _on_job(self, old: Object | None, new: Object | None) -> None:
        known = new or old or {}
        key = key_of(known)
        if new is None or is_finished(new):
            self._control.forget(key)
            self._written.forget(key)
            self._untracked.pop(key, None)
            self._records.pop(key, None)
            for pod in self._pods.by_index(BY_CONTROLLER, uid_of(known)):
                if is_tracked(pod):
                    self._orphans.queue.add(key_of(pod))
        if new is not None:
            self._controller.queue.add(key)

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is None or (key := self._control.owner_key(pod)) is None:
                continue
            self._control.observe(key, pod, gone=new is None)
            if pod is old and (new is None or not is_tracked(new)):
                self._untracked.get(key, set()).discard(uid_of(pod))
            self._controller.queue.add(key)
        if new is None:
            return
        if is_tracked(new) and not self._has_live_job(new):
            self._orphans.queue.add(key_of(new))
        if controller_of(new) is None:
            for job in self._jobs.list(key_of(new).namespace):
                selector = selector_from_object(job["spec"].get("selector"))
                if selector.matches(labels_of(new)):
                    self._controller.queue.add(key_of(job))

    def _has_live_job(self, pod: Object) -> bool:
        key = self._control.owner_key(pod)
        job = self._jobs.get(key) if key else None
        owner = controller_of(pod) or {}
        return job is not None and uid_of(job) == owner.get("uid") and not is_finished(job)
